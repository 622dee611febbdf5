"""What a worker with a name makes of what its group tells it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import IllegalGenerationError, NoError, UnknownMemberIdError
from aiokafka.protocol.group import HeartbeatRequest, JoinGroupRequest

from streams.instance import FENCED, Instance, InstanceTakenError
from streams.settings import load_settings

HEARTBEAT = HeartbeatRequest("group", 1, "one-1")
JOIN = JoinGroupRequest("group", 30_000, 30_000, "one-1", "one", "consumer", [])


class Group:
    """A coordinator's answers, by a clock that the test moves."""

    def __init__(self, name: str = "one") -> None:
        self.now_s = 100.0
        settings = load_settings({"TIDEGATE_INSTANCE": name, "TIDEGATE_SESSION": "30s"})
        self.instance = Instance(settings, lambda: self.now_s)
        self.code = 0
        self._send_req: Any = self._answer
        self.instance.watch(self)

    async def _answer(self, _request: Any) -> Any:
        return SimpleNamespace(error_code=self.code)

    def asked(self, request: Any, code: int) -> None:
        """The coordinator is answered with this code."""
        self.code = code
        asyncio.run(self._send_req(request))


def test_a_name_that_is_unknown_within_its_session_is_another_s() -> None:
    group = Group()
    group.asked(HEARTBEAT, NoError.errno)
    group.now_s += 29
    with pytest.raises(InstanceTakenError, match="TIDEGATE_INSTANCE=one"):
        group.asked(HEARTBEAT, UnknownMemberIdError.errno)
    with pytest.raises(InstanceTakenError):
        group.instance.refuse_taken()


def test_one_that_the_group_has_given_up_joins_again() -> None:
    """It was asleep, or cut off, for longer than its session."""
    group = Group()
    group.asked(HEARTBEAT, NoError.errno)
    group.now_s += 31
    group.asked(HEARTBEAT, UnknownMemberIdError.errno)
    group.asked(JOIN, NoError.errno)
    group.asked(HEARTBEAT, IllegalGenerationError.errno)
    group.instance.refuse_taken()


def test_one_that_is_refused_its_name_when_it_joins_is_not_to_take_it_back() -> None:
    group = Group()
    group.asked(JOIN, FENCED)
    with pytest.raises(InstanceTakenError):
        group.instance.refuse_taken()


def test_one_without_a_name_joins_again_whenever_it_is_unknown() -> None:
    group = Group("")
    group.asked(HEARTBEAT, NoError.errno)
    group.asked(HEARTBEAT, UnknownMemberIdError.errno)
    group.instance.refuse_taken()
