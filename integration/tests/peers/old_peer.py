#!/usr/bin/env python3
"""A peer as the field has them: AMQP 0-9-1 by pika, frames of generation 0.5.5, nothing of Polybus.

    old_peer.py client SERVICE DATA MAP [OPTION...]
                                             asks a service, prints its output, exits with its retcode
        --loose                              writes what the loosest of the old programs wrote: numbers as texts, booleans
                                             as Python prints them, null for what they did not know
    old_peer.py server SERVICE [OPTION...]   serves requests until it is ended: answers with the request's data in
                                             upper case
        --loose                              the same in the reply: retcode as a text, null for an empty stream
        --without-correlation                answers as the Java programs did, which repeat no correlation id
        --requests N                         ends after N requests
    old_peer.py logs N                       prints N lines of the log exchange

The broker is the URL in OLD_PEER_URL. It declares what it needs as the old programs do: actively, with their flags, so
that it fails if something else is there.
"""

import base64
import json
import os
import platform
import socket
import sys
import time
import uuid

import pika

VERSION = "0.5.5"
KEYS = {"name", "release", "protocolver", "hostname", "platform", "pika_version", "pid", "time", "appdata"}


def encoded(data):
    return base64.b64encode(data).decode("ascii")


def frame(name, appdata, loose=False):
    written = strict_frame(name, appdata)
    if loose:
        written |= {"protocolver": None, "platform": None, "pika_version": None}
        written |= {"pid": str(written["pid"]), "time": f"{written['time']}.25"}
    return json.dumps(written)


def strict_frame(name, appdata):
    return {
        "name": name,
        "release": VERSION,
        "protocolver": VERSION,
        "hostname": socket.getfqdn(),
        "platform": platform.version(),
        "pika_version": pika.__version__,
        "pid": os.getpid(),
        "time": int(time.time()),
        "appdata": appdata,
    }


def content(path):
    with open(path, "rb") as file:
        return file.read()


def connected():
    connection = pika.BlockingConnection(pika.URLParameters(os.environ["OLD_PEER_URL"]))
    channel = connection.channel()
    channel.exchange_declare(exchange="logs", exchange_type="fanout")
    return connection, channel


def client(service, data, netmap, options):
    loose = "--loose" in options
    connection, channel = connected()
    replies = channel.queue_declare(queue="", exclusive=True).method.queue
    wanted = str(uuid.uuid4())
    found = []

    def on_reply(_channel, _method, properties, body):
        if properties.correlation_id == wanted:
            found.append(body)

    channel.basic_consume(queue=replies, on_message_callback=on_reply, auto_ack=True)
    appdata = {
        "data": encoded(content(data)),
        "netmap": encoded(content(netmap)),
        "json": "false",
        "stats": "false",
        "usage": "false",
    }
    if loose:
        appdata |= {"json": "False", "stats": None, "usage": "FALSE", "zip": None}
    channel.basic_publish(
        exchange="",
        routing_key=f"{service}_{VERSION}",
        properties=pika.BasicProperties(
            reply_to=replies, correlation_id=wanted, content_type="application/json", delivery_mode=2
        ),
        body=frame(service, appdata, loose),
    )
    channel.basic_publish(exchange="logs", routing_key="", body=f"{uuid.uuid4()}: asked {service}")
    deadline = time.monotonic() + 60
    while not found and time.monotonic() < deadline:
        connection.process_data_events(time_limit=1)
    if not found:
        sys.exit("no reply")
    reply = json.loads(found[0])
    if set(reply) != KEYS:
        sys.exit(f"not a frame of this generation: {sorted(reply)}")
    sys.stdout.buffer.write(base64.b64decode(reply["appdata"]["stdout"]))
    sys.stderr.buffer.write(base64.b64decode(reply["appdata"]["stderr"]))
    sys.exit(reply["appdata"]["retcode"])


def server(service, options):
    _connection, channel = connected()
    queue = f"{service}_{VERSION}"
    channel.queue_declare(queue=queue)
    channel.basic_qos(prefetch_count=1)
    left = int(options[options.index("--requests") + 1]) if "--requests" in options else -1

    def on_request(channel, method, properties, body):
        nonlocal left
        request = json.loads(body)
        if set(request) != KEYS or request["name"] != service or not isinstance(request["pid"], int):
            sys.exit(f"not a frame of this generation: {request}")
        # Ours write booleans as these programs do: as texts.
        for key, value in request["appdata"].items():
            if not isinstance(value, str):
                sys.exit(f"{key} is no text: {value}")
        print(f"headers {json.dumps(properties.headers or {}, sort_keys=True, default=str)}", flush=True)
        data = base64.b64decode(request["appdata"]["data"])
        reply = pika.BasicProperties(content_type="application/json", delivery_mode=2)
        if "--without-correlation" not in options:
            reply.correlation_id = properties.correlation_id
        appdata = {"retcode": 0, "stdout": encoded(data.upper()), "stderr": encoded(b"")}
        loose = "--loose" in options
        if loose:
            appdata |= {"retcode": "0", "stderr": None}
        channel.basic_publish("", properties.reply_to, frame(service, appdata, loose), reply)
        channel.basic_ack(method.delivery_tag)
        left -= 1
        if left == 0:
            channel.stop_consuming()

    channel.basic_consume(queue=queue, on_message_callback=on_request)
    print(f"serving {queue}", flush=True)
    channel.start_consuming()


def logs(count):
    _connection, channel = connected()
    queue = channel.queue_declare(queue="", exclusive=True).method.queue
    channel.queue_bind(exchange="logs", queue=queue)
    print("listening", flush=True)
    for _method, _properties, body in channel.consume(queue, auto_ack=True):
        print(body.decode("utf-8"), flush=True)
        count -= 1
        if count == 0:
            return


def main(words):
    match words:
        case ["client", service, data, netmap, *options]:
            client(service, data, netmap, options)
        case ["server", service, *options]:
            server(service, options)
        case ["logs", count]:
            logs(int(count))
        case _:
            sys.exit(__doc__)


main(sys.argv[1:])
