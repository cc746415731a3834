#!/usr/bin/env python3
"""zmq_client.py zmq://[USER:SECRET@]HOST:PORT SERVICE DATA MAP - asks a service over a Polybus broker and prints its output."""

import base64, hashlib, hmac, json, os, platform, socket, struct, sys, time, urllib.parse, uuid

import zmq

url, service = urllib.parse.urlsplit(sys.argv[1]), sys.argv[2]
client = uuid.uuid4().hex
dealer = zmq.Context().socket(zmq.DEALER)
dealer.setsockopt(zmq.RCVTIMEO, 60_000)
dealer.setsockopt(zmq.LINGER, 0)
dealer.connect(f"tcp://{url.hostname}:{url.port}")


def say(kind, number, header, body=None):
    """One message: version, kind and number; a header in JSON; raw bytes."""
    head = struct.pack(">B1sQ", 1, kind, number)
    dealer.send_multipart([head, json.dumps(header).encode()] + ([] if body is None else [body]))


def hear():
    head, *rest = dealer.recv_multipart()
    _, kind, number = struct.unpack(">B1sQ", head)
    header = json.loads(rest[0]) if rest and rest[0] else {}
    if kind == b"E":
        sys.exit(f"refused: {header}")
    return kind, number, header, rest[1] if len(rest) > 1 else b""


def content(path):
    with open(path, "rb") as file:
        return base64.b64encode(file.read()).decode()


def proof(side):
    lines = ["polybus zeromq 1 " + side, url.username, client, hello["nonce"], greeting["nonce"], ""]
    return hmac.new(urllib.parse.unquote(url.password).encode(), "\n".join(lines).encode(), hashlib.sha256).hexdigest()


_, _, greeting, _ = hear()
hello = {"client": client, "nonce": os.urandom(32).hex()}
if greeting["proof_needed"] != bool(url.password):
    sys.exit("unauthorized: only one side wants a proof")
if url.password:
    hello |= {"user": url.username, "proof": proof("client")}
say(b"H", 1, hello)
_, _, welcome, _ = hear()
if url.password and not hmac.compare_digest(welcome.get("proof", ""), proof("broker")):
    sys.exit("unauthorized: what answers there does not know the secret")
frame = {"name": service, "release": "1.0", "protocolver": "0.5.5", "hostname": socket.getfqdn(),
         "platform": platform.version(), "pika_version": "pyzmq-" + zmq.__version__, "pid": os.getpid(),
         "time": int(time.time()), "appdata": {"data": content(sys.argv[3]), "netmap": content(sys.argv[4])}}
say(b"Q", 2, {"to": {"queue": service + "_0.5.5"}, "options": {"deadline_ms": 60_000}}, json.dumps(frame).encode())
while True:
    kind, number, header, body = hear()
    if kind == b"A" and number == 2:
        answer = json.loads(body)["appdata"]
        sys.stdout.buffer.write(base64.b64decode(answer["stdout"]))
        sys.stderr.buffer.write(base64.b64decode(answer["stderr"]))
        sys.exit(answer["retcode"])
    if kind == b"F":
        sys.exit(f"no answer: {header}")
