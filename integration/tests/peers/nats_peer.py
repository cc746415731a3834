#!/usr/bin/env python3
"""A NATS program by nats-py that knows nothing of Polybus but the frames of its services.

    nats_peer.py request SERVICE DATA MAP [TRACEPARENT]
                                       asks a service by a plain request, prints its output, exits with its retcode
    nats_peer.py classify SERVICE DATA MAP
                                       the same for the classification as JSON, which is longer than the data
    nats_peer.py raw SUBJECT           a plain request by the text protocol alone, without any library: prints the reply
    nats_peer.py server SERVICE        serves the queue of a service until it is ended: answers with the request's data in
                                       upper case
    nats_peer.py discover NAME         prints what services answer to discovery: of all, by name, and by id
    nats_peer.py logs N                prints N lines of the topic of log lines
    nats_peer.py say TEXT              writes such a line

The server is the URL in NATS_PEER_URL.
"""

import asyncio
import base64
import json
import os
import platform
import socket
import sys
import time
import urllib.parse

import nats
import nats.errors

VERSION = "0.5.5"


def encoded(data):
    return base64.b64encode(data).decode("ascii")


def content(path):
    with open(path, "rb") as file:
        return file.read()


def frame(name, appdata):
    text = json.dumps(
        {
            "name": name,
            "release": VERSION,
            "protocolver": VERSION,
            "hostname": socket.getfqdn(),
            "platform": platform.version(),
            "pika_version": "nats-py",
            "pid": os.getpid(),
            "time": int(time.time()),
            "appdata": appdata,
        }
    )
    return text.encode()


def question(data, netmap, classify):
    return {"data": encoded(content(data)), "netmap": encoded(content(netmap)), "json": str(classify).lower()}


async def connected():
    return await nats.connect(os.environ["NATS_PEER_URL"], max_reconnect_attempts=0)


async def request(service, data, netmap, parent=(), classify=False):
    client = await connected()
    headers = {"traceparent": parent[0]} if parent else None
    asked = frame(service, question(data, netmap, classify))
    reply = await client.request(f"{service}_{VERSION}", asked, timeout=60, headers=headers)
    if not reply.data:
        sys.exit(f"refused: {reply.headers}")
    answer = json.loads(reply.data)["appdata"]
    sys.stdout.buffer.write(base64.b64decode(answer["stdout"]))
    sys.stderr.buffer.write(base64.b64decode(answer["stderr"]))
    sys.exit(answer["retcode"])


def raw(subject):
    """What any program with a socket can do."""
    url = urllib.parse.urlsplit(os.environ["NATS_PEER_URL"])
    account = {"user": url.username, "pass": urllib.parse.unquote(url.password or "")} if url.username else {}
    options = json.dumps({"verbose": False, "headers": True, "no_responders": True, **account})
    with socket.create_connection((url.hostname, url.port), timeout=60) as connection:
        lines = connection.makefile("rb")
        lines.readline()
        body = b"not a frame"
        words = f"CONNECT {options}\r\nSUB _INBOX.raw.1 1\r\nPUB {subject} _INBOX.raw.1 {len(body)}\r\n"
        connection.sendall(words.encode() + body + b"\r\n")
        while True:
            line = lines.readline().decode().split()
            match line[:1]:
                case ["PING"]:
                    connection.sendall(b"PONG\r\n")
                case ["MSG" | "HMSG"]:
                    sys.stdout.write(lines.read(int(line[-1])).decode())
                    return
                case ["-ERR"] | []:
                    sys.exit(f"the server said {line}")


async def server(service):
    client = await connected()
    stream = f"polybus+q+{service}_{VERSION.replace('.', '=')}"
    jobs = await client.jetstream().pull_subscribe_bind(durable="workers", stream=stream)
    print(f"serving {service}_{VERSION}", flush=True)
    while True:
        try:
            [job] = await jobs.fetch(1, timeout=5)
        except nats.errors.TimeoutError:
            continue
        data = base64.b64decode(json.loads(job.data)["appdata"]["data"])
        answer = {"retcode": 0, "stdout": encoded(data.upper()), "stderr": encoded(b"")}
        await client.publish(job.headers["Polybus-Reply"], frame(service, answer))
        await job.ack()


async def discover(name):
    client = await connected()
    inbox = client.new_inbox()
    replies = await client.subscribe(inbox)
    ids = []
    for subject in ["$SRV.PING", f"$SRV.PING.{name}", f"$SRV.INFO.{name}", f"$SRV.STATS.{name}"]:
        await client.publish(subject, b"", reply=inbox)
        answer = json.loads((await replies.next_msg(timeout=30)).data)
        while answer["name"] != name:
            answer = json.loads((await replies.next_msg(timeout=30)).data)
        ids.append(answer["id"])
        print(json.dumps(answer, sort_keys=True), flush=True)
    for verb in ["PING", "INFO", "STATS"]:
        answer = json.loads((await client.request(f"$SRV.{verb}.{name}.{ids[0]}", b"", timeout=30)).data)
        if answer["id"] != ids[0]:
            sys.exit(f"somebody else answers: {answer}")
    print("one instance" if len(set(ids)) == 1 else f"several: {ids}", flush=True)


async def logs(count):
    client = await connected()
    lines = await client.subscribe("logs")
    await client.flush()
    print("listening", flush=True)
    for _ in range(count):
        message = await lines.next_msg(timeout=90)
        print(message.data.decode("utf-8"), flush=True)


async def say(text):
    client = await connected()
    await client.publish("logs", text.encode())
    await client.drain()


def main(words):
    match words:
        case ["request", service, data, netmap, *parent]:
            asyncio.run(request(service, data, netmap, parent))
        case ["classify", service, data, netmap]:
            asyncio.run(request(service, data, netmap, classify=True))
        case ["raw", subject]:
            raw(subject)
        case ["server", service]:
            asyncio.run(server(service))
        case ["discover", name]:
            asyncio.run(discover(name))
        case ["logs", count]:
            asyncio.run(logs(int(count)))
        case ["say", text]:
            asyncio.run(say(text))
        case _:
            sys.exit(__doc__)


main(sys.argv[1:])
