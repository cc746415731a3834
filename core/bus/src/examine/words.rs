//! What is looked for on every bus, and what keeps a client away from one.

polybus_contract::diagnoses! {
    URL: Fault "bus-url",
        "nothing can be connected",
        "write the URL as the page on this bus shows it";
    PRIVATE: Notice "bus-private",
        "the bus is inside one process: no server can serve others on it, clients start the workers they need themselves",
        "name a bus that processes share, such as RabbitMQ, NATS or polybus broker, if there shall be servers";
    NAME_UNRESOLVED: Fault "name-unresolved",
        "the host's name has no address here: nothing can be connected",
        "look at the spelling, and at the resolver of this machine (getent hosts NAME)";
    PORT_REFUSED: Fault "port-refused",
        "nobody listens there: the broker does not run, listens elsewhere, or a firewall refuses",
        "start the broker, or put the right port into the URL; 5672 is usual for RabbitMQ, 5671 with TLS, 4222 for NATS, 5570 for polybus broker";
    HOST_SILENT: Fault "host-silent",
        "nobody answers at all: the machine is down, or a firewall drops what is sent there",
        "look at the address, the route and the firewall";
    OTHER_PROTOCOL: Fault "other-protocol",
        "something else answers there: nothing can be connected",
        "put the broker's own port into the URL, and the scheme of its kind (amqp, nats, zmq)";
    TLS_EXPECTED: Fault "tls-expected",
        "the port speaks TLS and the URL does not: nothing can be connected",
        "write amqps:// or nats+tls://, with ?ca=FILE for an authority of your own";
    TLS_MISSING: Fault "tls-missing",
        "the URL demands TLS and the port does not speak it: nothing is sent in the clear, so nothing can be connected",
        "use the port with TLS (5671 for RabbitMQ), configure TLS on the broker, or write amqp:// or nats://";
    TLS_FAILED: Fault "tls-failed",
        "no trust comes about: nothing can be connected",
        "name the authority that signed the broker's certificate (?ca=FILE), use the host's name that is in it (or \
         server_name=NAME), and show a certificate of your own where one is demanded (cert=FILE, key=FILE)";
    CREDENTIALS: Fault "credentials-refused",
        "the broker knows this user not, or not with this password: nothing can be connected",
        "look at user and password (polybus config shows where each comes from); guest of RabbitMQ may only connect from its own machine";
    VHOST: Fault "vhost-refused",
        "the virtual host does not exist, or this user may not use it: nothing can be connected",
        "rabbitmqctl add_vhost VHOST and set_permissions -p VHOST USER, or put the right one into the URL; / is written %2F";
    CONNECTION_LIMIT: Fault "connection-limit",
        "as many connections as are allowed are open; a server needs three, a client two",
        "rabbitmqctl set_vhost_limits or set_user_limits with a larger max-connections, max_connections of NATS, or fewer programs";
    SETTINGS: Fault "connection-settings",
        "a file or option for the connection cannot be used: nothing can be connected",
        "mend what is named";
    CONNECTION: Fault "connection",
        "programs wait for the bus, or give up",
        "look at the broker's log for this time";
    NEEDS: Fault "needs-unmet",
        "the service refuses to start on this bus",
        "use a bus that has it: polybus check and the table of capabilities name them";
}
