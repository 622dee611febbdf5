"""The examples do what their README says, to the minute."""

from __future__ import annotations

import collections
from pathlib import Path

import orjson
import pytest

from streams import cli

EXAMPLES = Path(__file__).parents[3] / "actions" / "examples"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.yaml"))
MESSAGES = {
    "abandoned-cart": {"first": 2, "second": 1},
    "hot-lead": {"told": 2, "reminded": 1},
    "onboarding": {"welcome": 4, "nudge-help": 3, "last": 2},
    "trial-ending": {"three-days": 3, "keen": 1, "last-day": 1},
    "upsell": {"offer": 1},
    "win-back": {"offer": 17, "asked": 2, "last": 13},
}
# some of them, worked out by hand
INSTANTS = {
    (
        "onboarding",
        "bo",
        "nudge-help",
    ): "2026-03-05T08:00:00.000Z",  # Wednesday 11:01 in Berlin is too late for that day
    ("onboarding", "di", "nudge-help"): "2026-03-09T13:00:00.000Z",  # Monday, New York in summer time since Sunday
    ("trial-ending", "ben", "three-days"): "2026-03-11T23:00:00.000Z",  # midnight in Paris
    ("trial-ending", "cat", "three-days"): "2026-03-19T00:00:00.000Z",  # moved while it waited
    ("abandoned-cart", "fay", "second"): "2026-03-02T10:00:00.000Z",
    ("upsell", "ida", "offer"): "2026-03-10T09:00:00.000Z",  # three times by Wednesday; the next Tuesday, ten in Rome
    ("hot-lead", "max", "reminded"): "2026-03-03T14:00:00.000Z",
}


def told_by(name: str, capsys: pytest.CaptureFixture[str]) -> list[dict[str, str]]:
    """Deliveries of an example."""
    files = [str(EXAMPLES / f"{name}.{kind}") for kind in ("yaml", "jsonl")]
    assert cli.run(["simulate", *files, "--until", "2026-05-01"]) == 0
    return [line for line in map(orjson.loads, capsys.readouterr().out.splitlines()) if "delivery" in line]


def test_every_example_is_counted_here_and_in_the_readme() -> None:
    assert list(MESSAGES) == NAMES
    readme = (EXAMPLES / "README.md").read_text()
    assert all(f"| `{name}` |" in readme for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_an_example_sends_what_its_readme_says(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    deliveries = told_by(name, capsys)
    assert dict(collections.Counter(each["step"] for each in deliveries)) == MESSAGES[name]
    assert len({each["delivery"] for each in deliveries}) == len(deliveries)
    at = {(name, each["contact"], each["step"]): each["at"] for each in deliveries}
    expected = {place: instant for place, instant in INSTANTS.items() if place[0] == name}
    assert {place: at.get(place) for place in expected} == expected
