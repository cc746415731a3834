#!/usr/bin/env python3
"""Calls an echo service as often as it is told, so many calls in flight, and prints the seconds that took.

    caller.py pika|nats-py URL QUEUE CALLS IN_FLIGHT BYTES
"""

import asyncio
import sys
import time
import uuid


def by_pika(url, queue, calls, window, body):
    import pika

    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    replies = channel.queue_declare(queue="", exclusive=True).method.queue
    waiting = set()

    def ask():
        wanted = str(uuid.uuid4())
        waiting.add(wanted)
        properties = pika.BasicProperties(reply_to=replies, correlation_id=wanted, delivery_mode=2)
        channel.basic_publish("", queue, body, properties)

    began = time.monotonic()
    left = calls
    for _ in range(min(window, left)):
        ask()
        left -= 1
    for _method, properties, answer in channel.consume(replies, auto_ack=True, inactivity_timeout=60):
        if properties is None or answer != body:
            sys.exit("a reply is missing or wrong")
        waiting.remove(properties.correlation_id)
        if left:
            ask()
            left -= 1
        if not waiting:
            return time.monotonic() - began


async def by_nats(url, queue, calls, window, body):
    import nats

    client = await nats.connect(url)
    left = iter(range(calls))

    async def line():
        for _ in left:
            reply = await client.request(queue, body, timeout=60)
            if reply.data != body:
                sys.exit(f"a reply is wrong: {reply.headers}")

    began = time.monotonic()
    await asyncio.gather(*[line() for _ in range(window)])
    took = time.monotonic() - began
    await client.close()
    return took


def main(library, url, queue, calls, window, size):
    body = b"x" * int(size)
    if library == "pika":
        print(by_pika(url, queue, int(calls), int(window), body))
    else:
        print(asyncio.run(by_nats(url, queue, int(calls), int(window), body)))


main(*sys.argv[1:])
