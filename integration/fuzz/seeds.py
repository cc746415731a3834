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
