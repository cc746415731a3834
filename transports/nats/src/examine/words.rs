//! What is looked for on a NATS server.

polybus_contract::diagnoses! {
    SERVER_OLD: Warning "server-old",
        "before 2.10 a server can lose sight of a message that was given back, and hands out the next one twice; its clock cannot be read",
        "use nats-server 2.10 or later";
    JETSTREAM_OFF: Fault "jetstream-off",
        "there are no queues and no durable topics: services cannot be served, only topics and requests to their subscribers work",
        "add jetstream {} to the server's configuration, and jetstream: enabled to the account";
    MESSAGE_LIMIT: Warning "message-limit",
        "a larger message is refused, and its sender gets an error; only between clients and workers of Polybus does what exceeds max_payload travel in parts",
        "raise max_payload (the server takes up to 64 MB), or state what it takes with max_bytes";
    PERMISSION_PUBLISH: Fault "permission-publish",
        "what is sent there is thrown away by the server, and whoever waits for the answer waits in vain",
        "add the subject to permissions.publish.allow of this user; the page on NATS lists all of them";
    PERMISSION_SUBSCRIBE: Fault "permission-subscribe",
        "nothing is received from there: no answer, no reply, no line",
        "add the subject to permissions.subscribe.allow of this user, or choose inbox=WORD so that replies may come";
    STREAM_LIMIT: Fault "stream-limit",
        "the account has as many streams as it may: the queue, or its dead letters, cannot be made",
        "raise max_streams of the account to two for each queue, or delete what is not used";
    CONSUMER_LIMIT: Fault "consumer-limit",
        "the account has as many consumers as it may: nobody can take from the queue",
        "raise max_consumers of the account to two for each queue, or delete what is not used";
    STORAGE_LIMIT: Warning "storage-limit",
        "a stream reserves its bytes when it is made: with less room the queue is made smaller than it should be, or not at all, and \
         refuses senders sooner",
        "raise max_file (or max_mem) of the account, or delete what is not used";
    STORAGE_FULL: Fault "storage-full",
        "the account has used up its storage: requests, retries and dead letters are refused as full",
        "raise max_file (or max_mem) of the account, or purge what is not needed";
    PENDING_LIMIT: Warning "pending-limit",
        "so many deliveries may be out at once for all workers together: further workers and jobs stand idle",
        "raise max_ack_pending of the consumer (nats consumer edit STREAM workers --max-pending=-1), or of the account";
    SUBJECT_TAKEN: Fault "subject-taken",
        "another stream takes what is sent to the queue: its own stream cannot be made",
        "take the subject out of that stream (nats stream edit), or use a prefix";
    QUEUE_NOT_DURABLE: Fault "queue-not-durable",
        "everything that waits is lost when the server stops, though its sender was told that it is safe",
        "let it run empty, delete the stream, and let polybus serve make it; durable = false says that this is wanted";
    REPLICAS_FEWER: Warning "replicas-fewer",
        "the loss of a server loses or stops the queue, though the URL asks for more replicas",
        "nats stream edit STREAM --replicas=N";
    QUEUE_RETENTION: Fault "queue-retention",
        "what was served stays in the stream and is never taken out: it fills up to its bound and then refuses every sender, or \
         drops what nobody has seen",
        "delete the stream and let polybus serve make it; the retention of a work queue cannot be set later";
    OVERFLOW_DROPS: Fault "overflow-drops",
        "at its bound the stream throws the oldest requests away, and nobody is told",
        "nats stream edit STREAM --discard=new";
    MESSAGES_EXPIRE: Fault "messages-expire",
        "a request that waits longer is dropped; its caller hears nothing until its own deadline",
        "nats stream edit STREAM --max-age=0";
    QUEUE_BOUND: Notice "queue-bound",
        "senders are refused as full sooner than the server would have it",
        "nats stream edit STREAM --max-msgs=N --max-bytes=N";
    QUEUE_UNBOUNDED: Notice "queue-unbounded",
        "while nobody serves it the stream grows until the account or the disk is full, which stops everybody",
        "nats stream edit STREAM --max-msgs=N --max-bytes=N --discard=new";
    STREAM_SEALED: Fault "stream-sealed",
        "messages cannot be taken out or added: the queue takes nothing, or cannot be purged and redriven",
        "delete the stream and let polybus serve make it; a seal cannot be undone";
    STREAM_NO_ACK: Fault "stream-no-ack",
        "the server does not confirm what it stores: every send fails after its time, though the request may be there",
        "nats stream edit STREAM --ack";
    DEDUP_WINDOW: Notice "dedup-window",
        "a send that is repeated after a lost connection is recognised for a shorter time than the URL asks for",
        "nats stream edit STREAM --dupe-window=DURATION";
    DELIVERY_LIMIT: Fault "delivery-limit",
        "the server stops handing out a message after so many times and keeps it: it is never served, and never becomes a dead letter",
        "delete the consumer and let polybus serve make it (nats consumer rm STREAM workers)";
    LEASE_SHORT: Warning "lease-short",
        "a job whose renewal is late by this much is handed out again while it runs: it is done twice",
        "nats consumer edit STREAM workers --wait=30s";
    LEASE_LONG: Notice "lease-long",
        "the job of a worker that dies is handed out again only after this time",
        "nats consumer edit STREAM workers --wait=30s";
    CONSUMER_ACKS: Fault "consumer-acks",
        "deliveries count as done when they are handed out, or all before them with them: what a worker has in hand when it dies is lost",
        "delete the consumer and let polybus serve make it (nats consumer rm STREAM workers)";
    CONSUMER_PAUSED: Fault "consumer-paused",
        "nothing is handed out until then: requests wait, callers run into their deadlines",
        "nats consumer resume STREAM workers";
    CONSUMER_PARTIAL: Fault "consumer-partial",
        "the consumer shows only a part: bodies, or requests, never reach the service",
        "delete the consumer and let polybus serve make it (nats consumer rm STREAM workers)";
    CONSUMER_FOREIGN: Fault "consumer-foreign",
        "a work queue gives each message to one consumer, and somebody else has it: the server's own cannot be made",
        "delete the other consumer (nats consumer rm), or use another queue (-q)";
    CONSUMER_EXPIRES: Warning "consumer-expires",
        "the consumer goes when nobody has asked it for this long; with it go the counts of attempts",
        "delete it and let polybus serve make it (nats consumer rm STREAM workers)";
    NO_LEADER: Fault "no-leader",
        "the stream has no leader: it takes and gives nothing until enough of its servers are there",
        "bring the servers of the cluster back";
    DEAD_LETTERS_WAITING: Notice "dead-letters-waiting",
        "jobs have failed for good and wait for somebody to look at them; at their bound the oldest fall out",
        "polybus dead list QUEUE, then redrive or purge";
    TOPIC_NOT_DURABLE: Fault "topic-not-durable",
        "its stream is in memory: what groups have not read is lost when the server stops",
        "delete the stream and let polybus make it";
    CLOCK_SKEW: Warning "clock-skew",
        "deadlines and expiry travel as points in time: with clocks apart, requests count as expired too early or are served for \
         nobody, and signatures are refused",
        "let NTP set the clocks of servers and clients";
}
