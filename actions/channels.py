"""What a channel is: it makes one attempt at a delivery and says how that went."""

from dataclasses import dataclass
from typing import Final, Protocol

from actions.rules import Rule
from schemas.deliveries import Code, Delivery

# one attempt takes no longer, all told; the ledger's lease is longer still, so no second one starts meanwhile
ATTEMPT_MS_MAX: Final = 30_000
REASON_CHARACTERS_MAX: Final = 300


@dataclass(frozen=True)
class Result:
    """How an attempt went: `code` None is sent. `again` says that another attempt may go better."""

    code: Code | None = None
    reason: str | None = None
    again: bool = False
    retry_after_ms: int | None = None


SENT = Result()


class Sender(Protocol):
    """One channel. `send` raises nothing but what is a bug."""

    async def send(self, delivery: Delivery, rule: Rule) -> Result:
        """Makes one attempt at `delivery`, whose rule in its version is `rule`."""

    def lane(self, delivery: Delivery) -> str:
        """What the delivery shares a queue with: a slow receiver holds up its own lane alone."""

    async def close(self) -> None:
        """Lets go of connections."""


def shorten(text: str) -> str:
    """`text` as one line, short enough for an outcome."""
    line = " ".join(text.split())
    return line if len(line) <= REASON_CHARACTERS_MAX else line[: REASON_CHARACTERS_MAX - 3] + "..."
