"""Whether a delivery may go out now: facts in, verdict out. Pure; caps and rates, which count, are `limits.py`.

Asked at the instant of sending, in this order, and the first that objects is the reason: the read model is as new as the
delivery; the contact is still there; nothing has ended the sequence; it is in the segment of `while`; it consents; its
address is not suppressed; nobody sleeps. That a rule or a sequence was removed, the engine asks before.
"""

from dataclasses import dataclass
from typing import Final

from actions.facts import Facts
from actions.policies import CONTACT, SPEAKING, Policies, QuietHours, zone_of
from actions.sequences import GOAL, LIFTED
from schemas.deliveries import Code, Delivery
from schemas.instants import format_instant
from segments.calendar import Zone

# why a delivery is left out for good; of `while` a worker leaves out messages, too, which then are no deliveries
JUDGED: Final[frozenset[Code]] = frozenset(
    ("removed", "gone", "ended", "while", "consent", "suppressed", "quiet", "capped")
)
BEHIND_MS: Final = 30_000
BEHIND_MS_MAX: Final = 600_000


@dataclass(frozen=True)
class Verdict:
    """`code` None: it may go. Else why not; `until_ms`: when to ask again, None: it is left out for good."""

    code: Code | None = None
    reason: str | None = None
    until_ms: int | None = None


GO: Final = Verdict()
GONE: Final = Verdict("gone", "expected the contact, it has been erased")


def decide(delivery: Delivery, facts: Facts, policies: Policies, now_ms: int, behind_ms: int | None) -> Verdict:
    """The verdict on a delivery at `now_ms` (epoch ms).

    `behind_ms`: for how long the read model has been found behind this delivery, 0 when first; None to go by what is there.
    """
    if _of_erasure(delivery):
        return GO  # what it tells is that nobody is there
    reason = _behind(delivery, facts) if asks_read_model(delivery, policies) else None
    if reason is not None and (not facts.ready or (behind_ms is not None and behind_ms < BEHIND_MS_MAX)):
        return Verdict("behind", reason, now_ms + BEHIND_MS)
    for verdict in (
        _gone(delivery, facts, policies),
        _ended(delivery, facts),
        _while(delivery, facts),
        _consent(delivery, facts, policies),
        _suppressed(delivery, facts),
        _quiet(delivery, facts, policies, now_ms),
    ):
        if verdict.code is not None:
            return verdict
    return GO


def erased(delivery: Delivery, facts: Facts) -> Verdict | None:
    """The verdict on a delivery to a contact that was erased, which nothing has to be waited for with; else None."""
    return GONE if facts.gone and not _of_erasure(delivery) else None


def asks_read_model(delivery: Delivery, policies: Policies) -> bool:
    """Whether what may be sent hangs on the contact; else a read model that is behind, or not there, is in nobody's way."""
    return not _of_erasure(delivery) and (
        _asks_consent(delivery)
        or delivery.while_segment is not None
        or delivery.ends is not None
        or asks_zone(delivery, policies)
    )


def asks_zone(delivery: Delivery, policies: Policies) -> bool:
    """Whether it hangs on where the contact lives."""
    return any(quiet.tz == CONTACT for _, quiet in policies.quiet_of(delivery))


def _of_erasure(delivery: Delivery) -> bool:
    return delivery.transition.cause == "erasure"


def _asks_consent(delivery: Delivery) -> bool:
    return delivery.group is not None or delivery.channel in SPEAKING


def _behind(delivery: Delivery, facts: Facts) -> str | None:
    """Why the facts are older than the delivery; None where they are not."""
    if not facts.ready:
        return "expected all contacts in redis, they are still being read: is a projector running?"
    if facts.gone:
        return None
    if facts.revision is None or facts.revision < delivery.revision:
        found = "none" if facts.revision is None else str(facts.revision)
        return f"expected the contact in redis as of its change {delivery.revision}, got {found}"
    membership = facts.membership
    if delivery.while_segment is not None and (
        membership is None or (not membership.member and membership.revision < delivery.revision)
    ):
        # it was in there when the delivery was written
        return f"expected its membership of {_named(delivery)} in redis, got an older one"
    return None


def _named(delivery: Delivery) -> str:
    return _asked(delivery.while_segment or "", "while")


def _asked(id: str, key: str) -> str:
    """The segment `id` that stands under `key`, for people: one that was written in place has no name."""
    return f"what `{key}` asks for" if id.startswith(LIFTED) else f"segment {id!r}"


def _gone(delivery: Delivery, facts: Facts, policies: Policies) -> Verdict:
    # where the read model isn't asked for it may not be there: then only a mark says that somebody was erased
    missing = facts.ready and facts.revision is None and asks_read_model(delivery, policies)
    return GONE if facts.gone or missing else GO


def _ended(delivery: Delivery, facts: Facts) -> Verdict:
    ends = delivery.ends
    for ending, membership in zip(() if ends is None else ends.on, facts.endings, strict=False):
        if membership is None or membership.member is not (ending.transition == "entered"):
            continue
        # within the very step of the message, what came at a later instant
        if membership.revision > delivery.revision or (ends is not None and membership.since > ends.at):
            what = _asked(ending.segment, "goal" if ending.segment.startswith(GOAL) else "exit")
            came = f"the contact has {ending.transition} {what} at {membership.since}"
            return Verdict("ended", f"expected nothing since that ends sequence {delivery.rule!r}, but {came}")
    return GO


def _while(delivery: Delivery, facts: Facts) -> Verdict:
    membership = facts.membership
    if delivery.while_segment is None or membership is None or membership.member:
        return GO
    return Verdict("while", f"expected the contact in {_named(delivery)}, which it has left at {membership.since}")


def _consent(delivery: Delivery, facts: Facts, policies: Policies) -> Verdict:
    if not _asks_consent(delivery):
        return GO
    word = facts.word(delivery.group)
    of_group = "messages" if delivery.group is None else f"messages of group {delivery.group!r}"
    if word is False:
        return Verdict("consent", f"expected consent to {of_group}, it was taken back")
    if word is None and policies.consent_is_explicit:
        return Verdict("consent", f"expected consent to {of_group}, none was given")
    return GO


def _suppressed(delivery: Delivery, facts: Facts) -> Verdict:
    if delivery.channel != "email" or facts.suppressed is None:
        return GO
    return Verdict("suppressed", f"expected an address that takes mail, got one with {facts.suppressed}")


def _quiet(delivery: Delivery, facts: Facts, policies: Policies, now_ms: int) -> Verdict:
    """Of several quiet hours those that drop it count first, then those that end last."""
    found: list[tuple[QuietHours, Zone, int]] = []
    for policy, quiet in policies.quiet_of(delivery):
        here = zone_of(facts.zone if quiet.tz == CONTACT else quiet.tz, policy.zone)
        end_ms = quiet.end_ms(now_ms, here)
        if end_ms is not None:
            found.append((quiet, here, end_ms))
    if not found:
        return GO
    quiet, here, end_ms = max(found, key=lambda each: (each[0].then == "drop", each[2]))
    reason = f"expected waking hours in {here.name}, got quiet ones until {format_instant(end_ms)}"
    return Verdict("quiet", reason, None if quiet.then == "drop" else end_ms)
