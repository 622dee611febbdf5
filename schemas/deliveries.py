"""What to send, and what became of it: values of the topics `deliveries` and `outcomes`; their Kafka key is the contact.

A delivery is written by the worker in the contact's own step; it carries all that its message needs but the template,
which stands in the rule's version on the `definitions` topic. An outcome is written by the worker for what a rule
leaves out (`skipped`), by the dispatcher for everything else. Of the outcomes of one delivery the one with the greatest
`(retry, attempts)` counts, and of those with the same a final one.
"""

import hashlib
from typing import Annotated, Any, Literal, get_args

import msgspec
import orjson

from schemas.instants import format_instant
from schemas.transitions import Cause, CauseEvent, Direction, Transition

Channel = Literal["webhook", "email", "slack", "sms", "inapp", "kafka", "segment"]
CHANNELS: tuple[Channel, ...] = get_args(Channel)
Kind = Literal["rule", "sequence"]
Status = Literal["sent", "failed", "skipped", "waiting"]
STATUSES: tuple[Status, ...] = ("sent", "failed", "skipped", "waiting")

# Why, as a bounded set for metrics and filters. First what a worker leaves out in the contact's own step.
LeftOut = Literal[
    "cause",
    "silent",
    "too_old",
    "before_rule",
    "running",
    "again",
    "limit",
    "while",
    "no_target",
    "too_large",
]
# What a dispatcher leaves out, puts off and gives up comes after it.
Code = Literal[
    LeftOut,
    "removed",
    "gone",
    "ended",
    "consent",
    "suppressed",
    "quiet",
    "capped",
    "rate",
    "behind",
    "paused",
    "busy",
    "in_doubt",
    "retry",
    "refused",
    "opted_out",
    "gave_up",
    "template",
    "no_rule",
    "no_secret",
    "not_set_up",
]


class TransitionOf(msgspec.Struct, frozen=True, omit_defaults=True):
    """The transition that began a delivery, as its message may quote it."""

    id: str
    segment: str
    segment_version: int
    transition: Direction
    seq: int
    at: str
    cause: Cause
    key: str | None = None
    event: CauseEvent | None = None


class Ending(msgspec.Struct, frozen=True, omit_defaults=True):
    """A transition of the contact that ends a sequence for it; `key` where it counts for one value of `per` alone."""

    segment: str
    transition: Direction
    key: str | None = None


class Ends(msgspec.Struct, frozen=True, omit_defaults=True):
    """What ends the entry that a message belongs to, when it comes after the message's step."""

    at: Annotated[str, msgspec.Meta(description="instant at which the step was taken, by the contact's clock")]
    on: Annotated[
        tuple[Ending, ...], msgspec.Meta(description="of the sequence, its exits, and its goal if that ends it")
    ]


class Delivery(msgspec.Struct, frozen=True, omit_defaults=True):
    """One message to send: by which rule, over which channel, whereto, and with which traits of the contact."""

    id: Annotated[str, msgspec.Meta(description="the `webhook-id`, and the left half of the Message-ID")]
    rule: str
    rule_version: int
    step: int
    channel: Channel
    target: Annotated[
        str,
        msgspec.Meta(description="URL, e-mail address, phone number, topic; of Slack the secret's name, else `inapp`"),
    ]
    contact: str
    revision: Annotated[int, msgspec.Meta(description="counter of the contact's changes, as of the step")]
    transition: TransitionOf
    traits: dict[str, Any]
    created_at: Annotated[str, msgspec.Meta(description="arrival time of what brought it")]
    retry: Annotated[int, msgspec.Meta(description="how often a person asked for it again after it had failed")] = 0
    group: Annotated[str | None, msgspec.Meta(description="message group, for consent and the unsubscribe link")] = None
    kind: Annotated[Kind, msgspec.Meta(description="what `rule` and `rule_version` name")] = "rule"
    transactional: Annotated[bool, msgspec.Meta(description="passes caps, not consent")] = False
    while_segment: Annotated[
        str | None, msgspec.Meta(description="left out when the contact has left this by then")
    ] = None
    ends: Annotated[Ends | None, msgspec.Meta(description="left out when one of these has come by then")] = None


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of a delivery, or of an attempt at it.

    `sent`, `failed` and `skipped` are final; `waiting` is not and carries the delivery itself and, but for a pause,
    when it is due.
    """

    delivery: Annotated[str, msgspec.Meta(description="id of the delivery")]
    status: Status
    rule: str
    rule_version: int
    channel: Annotated[
        Channel | None, msgspec.Meta(description="null: of a sequence that was not begun and sends nothing")
    ]
    contact: str
    segment: str
    at: str
    attempts: Annotated[int, msgspec.Meta(ge=0, description="messages that were or may have been sent")] = 0
    code: Code | None = None
    reason: Annotated[str | None, msgspec.Meta(description="for people: what was expected, and what came")] = None
    due_at: str | None = None
    retry: int = 0
    again: Annotated[Delivery | None, msgspec.Meta(description="of `waiting`: what is to be sent")] = None
    group: str | None = None
    transactional: Annotated[bool, msgspec.Meta(description="counted by no cap")] = False
    kind: Kind = "rule"
    step: Annotated[int, msgspec.Meta(description="of a sequence: the step's number")] = 0
    entry: Annotated[
        str | None, msgspec.Meta(description="of a sequence's message: id of the transition that began the sequence")
    ] = None
    in_doubt: Annotated[
        bool, msgspec.Meta(description="left out or put off after an attempt that may have sent it: caps count it")
    ] = False

    @property
    def final(self) -> bool:
        """Whether nothing more happens to the delivery by itself."""
        return self.status != "waiting"

    @property
    def rank(self) -> tuple[int, int, bool]:
        """Of two outcomes of one delivery the one with the greater rank counts."""
        return self.retry, self.attempts, self.final


def delivery_id(transition_id: str, rule: str, rule_version: int, step: int) -> str:
    """32 hex digits: a pure function of the transition, the rule and its version, and the step; the same on replay."""
    return hashlib.sha256(orjson.dumps([transition_id, rule, rule_version, step])).hexdigest()[:32]


def transition_of(transition: Transition) -> TransitionOf:
    """What a message may quote of `transition`."""
    return TransitionOf(
        id=transition.id,
        segment=transition.segment,
        segment_version=transition.segment_version,
        transition=transition.transition,
        seq=transition.seq,
        at=format_instant(transition.at_ms),
        cause=transition.cause,
        key=transition.key,
        event=transition.event,
    )
