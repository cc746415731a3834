#!/usr/bin/env python3
"""zmq_worker.py zmq://[USER:SECRET@]HOST:PORT QUEUE - serves a queue of a Polybus broker: answers with the data in upper case."""

import base64, hashlib, hmac, json, os, platform, socket, struct, sys, time, urllib.parse, uuid

import zmq

url, queue = urllib.parse.urlsplit(sys.argv[1]), sys.argv[2]
client = uuid.uuid4().hex
dealer = zmq.Context().socket(zmq.DEALER)
dealer.setsockopt(zmq.HEARTBEAT_IVL, 2000)
dealer.setsockopt(zmq.HEARTBEAT_TIMEOUT, 6000)
dealer.connect(f"tcp://{url.hostname}:{url.port}")
last = 0


def say(kind, header, body=None, number=None):
    """One message: version, kind and number; a header in JSON; raw bytes."""
    global last
    last += number is None
    head = struct.pack(">B1sQ", 1, kind, last if number is None else number)
    dealer.send_multipart([head, json.dumps(header).encode()] + ([] if body is None else [body]))
    return last


def proof(side):
    lines = ["polybus zeromq 1 " + side, url.username, client, hello["nonce"], greeting["nonce"], ""]
    return hmac.new(urllib.parse.unquote(url.password).encode(), "\n".join(lines).encode(), hashlib.sha256).hexdigest()


def work(body):
    request = json.loads(body)
    data = base64.b64decode(request["appdata"]["data"])
    answer = {"retcode": 0, "stdout": base64.b64encode(data.upper()).decode(), "stderr": ""}
    frame = {"name": request["name"], "release": "1.0", "protocolver": "0.5.5", "hostname": socket.getfqdn(),
             "platform": platform.version(), "pika_version": "pyzmq-" + zmq.__version__, "pid": os.getpid(),
             "time": int(time.time()), "appdata": answer}
    return json.dumps(frame).encode()


while True:
    head, *rest = dealer.recv_multipart()
    _, kind, number = struct.unpack(">B1sQ", head)
    header = json.loads(rest[0]) if rest and rest[0] else {}
    if kind == b"G":  # A new connection, the first one or another one.
        greeting, hello = header, {"client": client, "nonce": os.urandom(32).hex()}
        if greeting["proof_needed"] != bool(url.password):
            sys.exit("unauthorized: only one side wants a proof")
        say(b"H", hello | ({"user": url.username, "proof": proof("client")} if url.password else {}))
    elif kind == b"W":
        if url.password and not hmac.compare_digest(header.get("proof", ""), proof("broker")):
            sys.exit("unauthorized: what answers there does not know the secret")
        say(b"D", {"queues": [{"name": queue}]})
        say(b"C", {"from": {"queue": queue}, "credit": 4})
        print("serving", queue, flush=True)
    elif kind == b"M":
        reply_to = header["message"].get("reply_to")
        if reply_to:
            say(b"R", {"to": reply_to, "options": {"attempt": header["attempt"]}}, work(rest[1]))
        say(b"Y", {"delivery": header["delivery"], "outcome": "ack"}, number=0)
    elif kind == b"E":
        print("the broker says", header, file=sys.stderr, flush=True)
