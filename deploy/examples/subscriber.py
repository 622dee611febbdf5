"""Prints each transition once and in order per contact: `python subscriber.py vip`. Needs aiokafka alone."""

import asyncio
import json
import os
import sys

from aiokafka import AIOKafkaConsumer

BROKER, PREFIX = os.environ.get("TIDEGATE_BROKER", "127.0.0.1:9092"), os.environ.get("TIDEGATE_PREFIX", "tidegate.")


async def follow(segment: str) -> None:
    settings = {"isolation_level": "read_committed", "auto_offset_reset": "earliest", "enable_auto_commit": False}
    topic, group = PREFIX + "transitions", f"{PREFIX}example-{segment}"
    async with AIOKafkaConsumer(topic, bootstrap_servers=BROKER, group_id=group, **settings) as records:
        async for record in records:
            it = json.loads(record.value)
            if it["segment"] == segment:
                print(it["at"], it["contact"], it["transition"], it["segment"], it["id"], flush=True)
            await records.commit()  # after the work: a crash between the two repeats it with the same id


asyncio.run(follow(sys.argv[1]))
