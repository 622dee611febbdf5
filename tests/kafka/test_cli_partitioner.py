"""librdkafka, told to use the Java client's partitioner, agrees with us on a real broker."""

import confluent_kafka
import pytest

from schemas.topics import partition_of
from streams import topics
from streams.cli.terminal import run
from streams.settings import load_settings

pytestmark = pytest.mark.kafka
KEYS = [f"c-{n}" for n in range(300)] + ["zo\u00eb", "\U0001f30a", "x" * 500]


def test_librdkafka_with_murmur2_random_puts_contacts_where_we_look_for_them(broker: str, prefix: str) -> None:
    """Its default is another one: what it puts elsewhere is rejected as `wrong_partition`."""
    settings = load_settings({"TIDEGATE_BROKER": broker, "TIDEGATE_PREFIX": prefix})
    run(topics.create(settings))
    came: dict[str, int] = {}

    def delivered(error: object, message: confluent_kafka.Message) -> None:
        assert error is None
        key = message.key()
        partition = message.partition()
        assert isinstance(key, bytes) and partition is not None
        came[key.decode()] = partition

    producer = confluent_kafka.Producer({"bootstrap.servers": broker, "partitioner": "murmur2_random"})
    for key in KEYS:
        producer.produce(settings.topic("events.product"), b"{}", key, on_delivery=delivered)
    assert producer.flush(20) == 0

    assert came == {key: partition_of(key.encode(), settings.partitions) for key in KEYS}
