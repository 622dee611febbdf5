"""Publishes an order for each line `contact<TAB>order<TAB>total` of its input. Needs aiokafka, nothing of Tidegate."""

import asyncio
import json
import os
import sys
from datetime import UTC, datetime

from aiokafka import AIOKafkaProducer

BROKER, PREFIX = os.environ.get("TIDEGATE_BROKER", "127.0.0.1:9092"), os.environ.get("TIDEGATE_PREFIX", "tidegate.")


async def publish() -> None:
    # The key is the contact, and aiokafka's own partitioner (murmur2) the right one: there is nothing to set.
    async with AIOKafkaProducer(bootstrap_servers=BROKER, acks="all", enable_idempotence=True) as producer:
        for line in sys.stdin:
            contact, order, total = line.rstrip("\n").split("\t")
            event = {"type": "track", "event": "Order Completed", "userId": contact, "messageId": order}
            event["timestamp"] = datetime.now(UTC).isoformat()
            event["properties"] = {"order_id": order, "total": float(total)}
            record = json.dumps(event).encode()
            await producer.send_and_wait(PREFIX + "events.billing", key=contact.encode(), value=record)


asyncio.run(publish())
