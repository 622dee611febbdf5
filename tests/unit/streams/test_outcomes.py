"""Which outcomes a ledger is rebuilt from."""

from typing import Any

import msgspec
import pytest

from schemas.deliveries import Outcome
from streams.outcomes import of_ledger

AT = "2026-03-01T09:30:00.000Z"


def record(status: Any, code: Any = None) -> bytes:
    return msgspec.json.encode(Outcome("d", status, "r", 1, "email", "c", "s", AT, code=code))


@pytest.mark.parametrize(
    ("value", "known"),
    [
        (record("sent"), True),
        (record("waiting", "quiet"), True),
        (record("skipped", "consent"), True),
        (record("skipped", "capped"), True),
        (record("skipped", "cause"), False),
        (record("skipped", "too_old"), False),
        (b"{}", False),
        (None, False),
    ],
)
def test_what_a_dispatcher_left_out_is_known_again_and_what_never_was_a_delivery_is_not(
    value: bytes | None, known: bool
) -> None:
    """Else one that was put off, and left out later, would come to life again when Redis is lost."""
    assert (of_ledger(value) is not None) == known
