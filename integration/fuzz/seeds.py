#!/usr/bin/env python3
"""Fills the corpus of each fuzz target with the vectors, one file for each."""
import base64
import hashlib
import json
import pathlib

HERE = pathlib.Path(__file__).parent
VECTORS = HERE.parent / "vectors" / "prisem"

TABLES = {
    "frame": [("frames.jsonl", "frame"), ("strict.jsonl", "frame")],
    "logline": [("loglines.jsonl", "line")],
    "scan": [("scan.jsonl", "line")],
    "mask": [("scan.jsonl", "line")],
}
CONFIG = {
    "toml": 'bus = "embedded:"\ntimeout = 60\n[log]\nlevel = "INFO"\n[service]\njobs = 2\n[amqp]\ntls = true\nport = 5671\n',
    "yaml": "---\nRPC_SERVER: mq.example.org:5672\nRPC_USER: rpc_user\nRPC_PWD: secret\nRPC_TLS: 'yes'\nRPC_TIMEOUT: 60\n",
}


def put(target: str, data: bytes) -> None:
    folder = HERE / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / hashlib.sha1(data).hexdigest()).write_bytes(data)


def value(row: dict, key: str) -> bytes:
    if f"{key}_b64" in row:
        return base64.b64decode(row[f"{key}_b64"])
    return row[key].encode() if isinstance(row[key], str) else json.dumps(row[key]).encode()


for target, tables in TABLES.items():
    for table, key in tables:
        for line in (VECTORS / table).read_text().splitlines():
            data = value(json.loads(line), key)
            put(target, b"203.0.113.0/24|FOE|FOE\n" + data if target == "mask" else data)
for path in sorted((VECTORS / "inputs").iterdir()):
    data = path.read_bytes()
    if path.name.startswith(("map", "sites", "users", "foe")):
        put("map", data)
    elif len(data) < 16384:
        put("scan", data)
for text in CONFIG.values():
    put("config", text.encode())

GREETING = b"\xff" + bytes(7) + b"\x01\x7f\x03\x01NULL".ljust(55, b"\0")
READY = b"\x04\x29\x05READY\x0bSocket-Type\0\0\0\x06DEALER\x08Identity\0\0\0\0"
SAID = [b"", READY, READY + b"\x01\x01a\x00\x02bc", READY + b"\x04\x07\x04PING\0\x1e", b"\x02" + bytes(6) + b"\x04\0" + bytes(1024)]
for said in SAID:
    for size in (1, 9, 64, 255):
        put("zmtp", bytes([size]) + GREETING + said)
PACKETS = {
    "H": '{"client":"00112233445566778899aabbccddeeff","nonce":"n","keep":true,"resume":true,"holding":[1],"asking":[2]}',
    "G": '{"versions":[1],"nonce":"n","proof_needed":true,"broker":"x"}',
    "W": '{"resumed":false,"profile":{"instance":"zmq:x","features":["queue"],"durability":"disk","settle":"confirmed","attempts":"counted","lease":"timed","fidelity":["id"]}}',
    "D": '{"queues":[{"name":"q","bounds":{"messages":1,"bytes":2,"drop_oldest":true}}],"topics":[{"name":"t","durable":true}],"groups":[{"topic":"t","name":"g","queue":{"name":"g"}}]}',
    "P": '{"to":{"queue":"q"},"message":{"id":"i","headers":[{"name":"h","type":"list","value":[{"type":"int","value":"1"}]}]},"options":{"confirm":"no"}}',
    "Q": '{"to":{"topic":"t"},"options":{"deadline_ms":null,"many":true}}',
    "R": '{"to":"a.1","options":{"error":{"code":"c","text":"t"}}}',
    "C": '{"from":{"group":{"topic":"t","group":"g"}},"credit":3,"lease_ms":5}',
    "S": '{"topic":"t","buffer":5}',
    "Y": '{"delivery":1,"outcome":"reject","reason":"decode","keep":"substitute"}',
    "J": '{"op":"browse","intake":{"queue":"q"},"place":"dead"}',
    "U": '{"op":"get","manifest":"v=1","index":0}',
    "M": '{"delivery":1,"attempt":1,"lease_ms":5,"queue":"q","message":{"death":{"reason":"r","attempts":1,"at":1,"queue":"q","whole":true}}}',
    "A": '{"message":{},"index":1,"last":false}',
    "L": '{"missed":null,"cause":"outage"}',
    "F": '{"end":"failed","error":{"kind":"full"}}',
    "E": '{"kind":"too_large","limit":1,"size":2}',
    "I": '{"blocked":true,"notes":["n"]}',
}
for kind, header in PACKETS.items():
    put("zmq_packet", kind.encode() + header.encode() + b"\0body")
