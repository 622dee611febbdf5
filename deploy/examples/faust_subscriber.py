"""Logs each transition, as a Faust agent: `faust -A faust_subscriber worker -l info`. Needs faust-streaming alone."""

import os

import faust
from faust.transport.drivers import aiokafka as driver

BROKER, PREFIX = os.environ.get("TIDEGATE_BROKER", "127.0.0.1:9092"), os.environ.get("TIDEGATE_PREFIX", "tidegate.")
own = driver.AIOKafkaConsumerThread._create_worker_consumer


def committed_only(thread, transport):
    consumer = own(thread, transport)
    consumer._isolation_level = "read_committed"  # Faust 0.15 has no setting for it outside its own transactions
    return consumer


driver.AIOKafkaConsumerThread._create_worker_consumer = committed_only
app = faust.App(PREFIX + "example", broker=f"kafka://{BROKER}", topic_allow_declare=False, topic_disable_leader=True)


@app.agent(app.topic(PREFIX + "transitions", value_type=bytes, value_serializer="json"))
async def follow(transitions):
    async for it in transitions:
        app.logger.info("%(at)s %(contact)s %(transition)s %(segment)s %(id)s", it)
