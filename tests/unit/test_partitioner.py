"""Every client that we speak of puts a contact into the same partition."""

import pytest
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.partitioner import murmur2 as aiokafka_murmur2

from schemas.topics import murmur2, partition_of

# org.apache.kafka.common.utils.UtilsTest.testMurmur2
JAVA = {
    "21": -973932308,
    "foobar": -790332482,
    "a-little-bit-long-string": -985981536,
    "a-little-bit-longer-string": -1486304829,
    "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    "abc": 479470107,
}
KEYS = [b"", b"c", b"c-", b"c-1", b"c-17", "zo\u00eb".encode(), "\U0001f30a".encode(), b"\xff\x80\x00meta", b"x" * 1024]


@pytest.mark.parametrize(("key", "expected"), JAVA.items())
def test_murmur2_gives_what_the_java_client_gives(key: str, expected: int) -> None:
    """The fixtures of Kafka's own test."""
    assert expected & 0xFFFFFFFF == murmur2(key.encode())


@pytest.mark.parametrize("partitions", [1, 3, 12, 100])
def test_our_partition_is_that_of_aiokafka(partitions: int) -> None:
    """Publishers that use aiokafka with its default need to do nothing."""
    every = list(range(partitions))

    for key in [*KEYS, *(f"contact-{n}".encode() for n in range(500))]:
        assert aiokafka_murmur2(key) & 0xFFFFFFFF == murmur2(key)
        assert DefaultPartitioner()(key, every, every) == partition_of(key, partitions)
