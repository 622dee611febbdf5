"""The Kafka channel: a record to a topic of the user's, with what a webhook's body says.

Its key is the contact, so one contact's messages are in order; the header `delivery_id` is the same in every attempt:
whoever reads the topic tells repeats by it. It returns as sent when all replicas have the record.
"""

import msgspec

from actions.channels import SENT, NotTaken, Publish, Resources, Result, Sender, shorten
from actions.message import payload
from actions.rules import Rule
from schemas.deliveries import Delivery
from schemas.topics import is_ours


def open_sender(resources: Resources) -> Sender:
    """The channel's sender."""
    return KafkaSender(resources.publish, resources.prefix)


class KafkaSender:
    """Publishes deliveries; never to a topic of ours, whose names begin with `prefix`."""

    def __init__(self, publish: Publish, prefix: str) -> None:
        self._publish, self._prefix = publish, prefix

    def lane(self, delivery: Delivery) -> str:
        """The topic: one whose partitions have no leader holds up no other."""
        return f"kafka {delivery.target}"

    async def send(self, delivery: Delivery, rule: Rule) -> Result:
        """One record. What the topic will never take is final; no answer is for later."""
        topic = delivery.target
        if is_ours(topic, self._prefix):
            return Result("refused", f"expected a topic of yours, got {topic!r}, which is one of ours by its prefix")
        value = msgspec.json.encode(payload(delivery))
        headers = [("delivery_id", delivery.id.encode()), ("content-type", b"application/json")]
        try:
            await self._publish(topic, delivery.contact.encode(), value, headers)
        except NotTaken as error:
            return Result("refused", shorten(str(error)))
        except OSError as error:
            return Result("retry", shorten(f"expected Kafka to take a record for {topic!r}, got {error}"), again=True)
        return SENT

    async def close(self) -> None:
        """Nothing is kept open."""
