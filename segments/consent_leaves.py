"""The leaves over what a contact was told of by others than traits and counts: consent, static lists, samples.

They keep nothing of their own: consent and lists stand in the contact's state whether anyone asks or not, as a
definition of tomorrow may, and a sample is a function of the contact's id.
"""

import hashlib
from fractions import Fraction
from typing import Any

from segments.canonical import leaf_key
from segments.conditions import Listed, Sample, Subscribed
from segments.state import ContactState
from segments.values import decimal

# the message group of a `Subscribed` without `group`: every one
EVERY_GROUP = ""


class ConsentLeaf:
    """Consent to a message group was given, or with `default: true`, was taken back: each false before anything was heard."""

    traits: frozenset[str] = frozenset()

    def __init__(self, condition: Subscribed) -> None:
        self.key = leaf_key(condition)
        self.group = condition.group
        self.wanted = not condition.default

    def read(self, kept: Any, state: ContactState, now_ms: int) -> tuple[bool, int | None]:
        """The answer; time alone never changes it."""
        latest = None
        for group, entry in state.consent.items():  # in order of arrival, which decides between ties
            if (group == self.group or group == EVERY_GROUP) and (latest is None or entry[0] >= latest[0]):
                latest = entry
        return latest is not None and latest[1] is self.wanted, None


class ListLeaf:
    """The contact is on a static list."""

    traits: frozenset[str] = frozenset()

    def __init__(self, condition: Listed) -> None:
        self.key = leaf_key(condition)
        self.list = condition.list

    def read(self, kept: Any, state: ContactState, now_ms: int) -> tuple[bool, int | None]:
        """The answer; time alone never changes it."""
        entry = state.lists.get(self.list)
        return entry is not None and entry[1] is True, None


def drawn(salt: str, contact: str) -> int:
    """The contact's fraction of a sample, times 2^64: the first 64 bits, big-endian, of SHA-256 of `salt:contact` in UTF-8."""
    return int.from_bytes(hashlib.sha256(f"{salt}:{contact}".encode()).digest()[:8], "big")


class SampleLeaf:
    """The contact's fraction of a sample (`drawn`) is below a percentage (language page, section 4)."""

    traits: frozenset[str] = frozenset()

    def __init__(self, condition: Sample) -> None:
        self.key = leaf_key(condition)
        self.salt = condition.salt
        # the first whole number that is not below it
        self.below = -(-(Fraction(decimal(condition.percent)) / 100 * 2**64) // 1)

    def read(self, kept: Any, state: ContactState, now_ms: int) -> tuple[bool, int | None]:
        """The answer; it never changes but with the contact's id."""
        return drawn(self.salt, state.contact) < self.below, None
