"""Publishes an order: `python publisher.py c-17 order-4711 129.90`. Needs aiokafka, and nothing of Tidegate."""

import asyncio
import json
import os
import sys
from datetime import UTC, datetime

from aiokafka import AIOKafkaProducer

BROKER, PREFIX = os.environ.get("TIDEGATE_BROKER", "127.0.0.1:9092"), os.environ.get("TIDEGATE_PREFIX", "tidegate.")


async def publish(contact: str, order: str, total: str) -> None:
    event = {"type": "track", "event": "Order Completed", "userId": contact, "messageId": order}
    event |= {"timestamp": datetime.now(UTC).isoformat(), "properties": {"order_id": order, "total": float(total)}}
    # The key is the contact, and aiokafka's own partitioner (murmur2) the right one: there is nothing to set.
    async with AIOKafkaProducer(bootstrap_servers=BROKER, enable_idempotence=True) as producer:
        record = json.dumps(event).encode()
        await producer.send_and_wait(PREFIX + "events.billing", key=contact.encode(), value=record)


asyncio.run(publish(*sys.argv[1:4]))
