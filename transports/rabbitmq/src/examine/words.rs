//! What is looked for on a `RabbitMQ` broker.

polybus_contract::diagnoses! {
    SERVER_OLD: Warning "server-old",
        "before 4.0 a broker gets no more corrections from its makers; before 3.12 the time a job may take can be set for the \
         whole broker only",
        "plan the upgrade to 4.0 or later; Polybus runs on both";
    ALARM: Fault "alarm",
        "the broker takes no publishes from anybody: requests, replies, retries and dead letters stand still until the alarm \
         ends, and acks wait behind publishes",
        "free memory or disk on the broker, or raise vm_memory_high_watermark or lower disk_free_limit if they are too careful";
    PERMISSION_CONFIGURE: Fault "permission-configure",
        "the queue cannot be declared: the server does not start, or retries and dead letters of its jobs fail",
        "rabbitmqctl set_permissions -p VHOST USER CONFIGURE WRITE READ, with the queue, its .dead and its delays, and amq.gen-.* in CONFIGURE";
    PERMISSION_WRITE: Fault "permission-write",
        "nothing can be sent to a queue: no request, no reply, no retry, no dead letter",
        "rabbitmqctl set_permissions -p VHOST USER CONFIGURE WRITE READ, with amq.default and the queues in WRITE";
    PERMISSION_READ: Fault "permission-read",
        "nothing can be consumed from the queue: the server gets no request",
        "rabbitmqctl set_permissions -p VHOST USER CONFIGURE WRITE READ, with the queue and its .dead in READ";
    QUEUE_LIMIT: Fault "queue-limit",
        "the virtual host has as many queues as it may: the queue, its dead letters or a caller's reply queue cannot be made",
        "rabbitmqctl set_vhost_limits -p VHOST with a larger max-queues, or delete what is not used";
    CHANNEL_LIMIT: Fault "channel-limit",
        "a connection may have fewer channels than a server opens; sending or consuming fails",
        "raise channel_max in rabbitmq.conf to 128 or more";
    FRAME_LIMIT: Warning "frame-limit",
        "properties and headers must fit into one frame; a message with larger ones costs the connection",
        "set frame_max in rabbitmq.conf to its default, 131072";
    MESSAGE_LIMIT: Warning "message-limit",
        "a larger request or reply is refused: the caller gets an error, or the channel is closed",
        "raise max_message_size in rabbitmq.conf, or state what the broker takes with max_bytes, so that clients are told \
         before anything is sent";
    CONSUMER_TIMEOUT: Fault "consumer-timeout",
        "a job that takes longer is taken away: the broker closes the channel, the work is lost, and the job is done again until \
         its attempts are spent",
        "set service.job_seconds below it, or raise consumer_timeout: by x-consumer-timeout or a policy since 3.12, else in rabbitmq.conf";
    QUEUE_NOT_DURABLE: Fault "queue-not-durable",
        "everything that waits is lost when the broker stops, though its sender was told that it is safe",
        "let it run empty, delete it (rabbitmqctl delete_queue QUEUE), and let polybus serve declare it; durable = false says that this is wanted";
    QUEUE_KIND: Warning "queue-kind",
        "a classic queue is on one node only, and forgets at a restart how often a message was handed out: what crashes its \
         worker may come back more often than allowed",
        "let it run empty, delete it, and let polybus serve declare a quorum queue";
    QUEUE_AUTO_DELETE: Fault "queue-auto-delete",
        "the queue goes, with all that waits, when its last worker leaves: at each restart of the server",
        "delete it and let polybus serve declare it";
    QUEUE_LOCKED: Fault "queue-locked",
        "another connection has the queue for itself: nobody else can serve it or send to it by name",
        "stop the program that declared it exclusive, or give the service another queue (-q)";
    QUEUE_EXPIRES: Fault "queue-expires",
        "the queue goes, with all that waits, when nobody has served it for this long",
        "delete it and let polybus serve declare it, or take expires out of the policy";
    MESSAGES_EXPIRE: Fault "messages-expire",
        "a request that waits longer is dropped; its caller hears nothing until its own deadline",
        "delete the queue and let polybus serve declare it, or take message-ttl out of the policy";
    OVERFLOW_DROPS: Fault "overflow-drops",
        "at its bound the queue throws the oldest requests away, and nobody is told",
        "delete the queue and let polybus serve declare it, or set overflow to reject-publish in the policy";
    QUEUE_BOUND: Notice "queue-bound",
        "senders are refused as full sooner than the server would have it",
        "delete the queue and let polybus serve declare it, or raise max-length and max-length-bytes in the policy";
    QUEUE_UNBOUNDED: Notice "queue-unbounded",
        "while nobody serves it the queue grows until the broker raises its alarm, which stops everybody",
        "delete the queue and let polybus serve declare it, or give it max-length-bytes and overflow = reject-publish by a policy";
    DELIVERY_LIMIT: Fault "delivery-limit",
        "the broker drops a message that came back so often, or puts it where its own dead letters go, before Polybus has made a \
         dead letter of it",
        "delete the queue and let polybus serve declare it, or take delivery-limit out of the policy";
    SINGLE_ACTIVE: Warning "single-active-consumer",
        "one worker gets all jobs, the others stand by: more workers make nothing faster",
        "delete the queue and let polybus serve declare it, unless strict order is what is wanted";
    DEAD_LETTERS_ELSEWHERE: Notice "dead-letters-elsewhere",
        "what the broker itself gives up goes to that exchange; polybus dead shows only what Polybus gave up",
        "look there as well, or delete the queue and let polybus serve declare it";
    DEAD_LETTERS_WAITING: Notice "dead-letters-waiting",
        "jobs have failed for good and wait for somebody to look at them; at their bound the oldest fall out",
        "polybus dead list QUEUE, then redrive or purge";
    QUEUE_UNSERVED: Warning "queue-unserved",
        "requests wait and nobody serves the queue: callers wait until their deadlines",
        "start a server (polybus serve), or purge the queue if the requests are of no use any more";
    QUEUE_DOWN: Fault "queue-down",
        "the queue has no leader, or too few of its members are there: it takes and gives nothing",
        "bring the nodes with its members back; polybus doctor --management URL shows when it runs";
    MEMBERS_MISSING: Warning "members-missing",
        "some members of the queue are away: the loss of another node stops it",
        "bring those nodes back, or rabbitmq-queues grow and shrink to move its members";
    NODE_DOWN: Warning "node-down",
        "a node of the cluster is away: queues and connections there are, too",
        "bring it back, or rabbitmqctl forget_cluster_node if it is gone for good";
    TOPIC_KIND: Fault "topic-kind",
        "an exchange of this name exists that is no fanout: what is published does not reach all who listen, and the topic cannot be used",
        "delete that exchange, or use another topic (log.exchange)";
    TOPIC_NOT_DURABLE: Fault "topic-not-durable",
        "the exchange goes when the broker stops, and durable groups cannot be made on it: declaring the topic is refused",
        "delete the exchange and let polybus declare it, or set durable = false";
    CLOCK_SKEW: Warning "clock-skew",
        "deadlines and expiry travel as points in time: with clocks apart, requests count as expired too early or are served for \
         nobody, and signatures are refused",
        "let NTP set the clocks of broker, servers and clients";
    MANAGEMENT: Warning "management",
        "what only the management interface tells stays unknown: alarms before they hold, policies, members, the clock",
        "give --management http://USER:PASSWORD@HOST:15672 with a user who has the tag monitoring, or enable rabbitmq_management";
}
