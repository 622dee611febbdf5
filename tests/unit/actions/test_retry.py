"""When an attempt is made again."""

from actions import retry
from actions.retry import HOUR_MS, Backoff

IDS = [f"delivery-{n}" for n in range(400)]


def test_waits_double_up_to_a_bound_with_full_jitter() -> None:
    """Full jitter: anything from nothing to the whole wait, evenly."""
    backoff = Backoff()
    for attempts, longest_ms in ((1, 2_000), (4, 16_000), (13, 2_000 << 12), (14, 4 * HOUR_MS)):
        waits = sorted(wait for id in IDS if (wait := backoff.wait_ms(id, attempts)) is not None)
        assert len(waits) == len(IDS)
        assert 0 <= waits[0] < longest_ms * 0.02
        assert longest_ms * 0.98 < waits[-1] < longest_ms
        assert 0.4 * longest_ms < waits[len(waits) // 2] < 0.6 * longest_ms


def test_there_is_a_last_attempt() -> None:
    assert Backoff().wait_ms("d", 14) is not None
    assert Backoff().wait_ms("d", 15) is None
    assert Backoff().wait_ms("d", 15, retry_after_ms=1) is None


def test_the_waits_are_as_long_as_the_documentation_says() -> None:
    """The bounds of all waits together, as the module and the README name them."""
    hours = sum(min(4 * HOUR_MS, 2_000 << n) for n in range(14)) / HOUR_MS

    assert f"{hours:.1f} h after" in " ".join(str(retry.__doc__).split())
    assert f"{hours / 2:.1f} h after it on average" in str(retry.__doc__)


def test_retry_after_is_obeyed_within_a_bound_and_spread() -> None:
    backoff = Backoff()
    waits = [backoff.wait_ms(id, 1, retry_after_ms=60_000) or 0 for id in IDS]

    assert min(waits) >= 60_000
    assert max(waits) < 62_000
    assert len(set(waits)) > 300
    assert (backoff.wait_ms("d", 1, retry_after_ms=10**15) or 0) < 24 * HOUR_MS + 2_000


def test_the_same_attempt_waits_the_same_on_a_repeat() -> None:
    assert Backoff().wait_ms("d", 3) == Backoff().wait_ms("d", 3)
