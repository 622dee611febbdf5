"""`tidegate deliveries list`: of each message its step, and of each that didn't go out why not."""

import orjson
import pytest
from click.testing import CliRunner

from schemas.deliveries import Outcome
from streams import deliveries
from streams.cli.deliveries import deliveries as command
from streams.deliveries import Standing


def outcome(n: int, **fields: object) -> Outcome:
    given = {"kind": "sequence", "rule": "welcome", "rule_version": 3, "channel": "email", "status": "skipped"} | fields
    return Outcome(delivery=str(n), contact="ada", segment="s", at=f"2026-03-01T09:30:0{n}.000Z", **given)  # type: ignore[arg-type]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> None:
    there = [
        outcome(1, code="no_target", reason="expected an e-mail address in trait 'mail', got none", step=2),
        outcome(2, code="again", reason="it has begun before"),
        outcome(3, code="refused", status="failed", kind="rule", rule="crm"),
        outcome(4, status="sent", rule_version=2, step=7),
    ]

    async def standings(*_: object) -> dict[str, Standing]:
        return {each.delivery: Standing(each.delivery, outcomes=[each]) for each in there}

    async def step_names(*_: object) -> dict[tuple[str, int, int], str]:
        return {("welcome", 3, 0): "hello", ("welcome", 3, 2): "nudge"}

    async def paused(*_: object) -> dict[str, object]:
        return {}

    for fake in (standings, step_names, paused):
        monkeypatch.setattr(deliveries, fake.__name__, fake)


@pytest.mark.usefixtures("told")
def test_a_list_has_code_and_step_of_each_and_no_step_of_what_was_not_begun() -> None:
    listed = orjson.loads(CliRunner().invoke(command, ["list", "--json"], catch_exceptions=False).stdout)

    assert [(each["code"], each["step"]) for each in listed] == [
        ("no_target", "nudge"),
        ("again", None),
        ("refused", None),
        (None, "7"),  # a version that the topic no longer has
    ]
