"""The group's coordinator, as Kafka has it: who is a member, and rounds in which all let go and then get anew."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from script import PARTITIONS

if TYPE_CHECKING:
    from machine import Machine
    from world import World

HEARTBEAT_S = 0.3
SESSION_S = 3.0
REBALANCE_TIMEOUT_S = 4.0


class Group:
    """Members and the round they are in; whoever isn't there in time is no member any more."""

    def __init__(self, world: World, rng: random.Random) -> None:
        self._world = world
        self._rng = rng
        self.members: list[Machine] = []
        self.round = 0
        self._here: list[Machine] = []

    def join(self, machine: Machine) -> None:
        """A new member, or one that was put out."""
        if machine not in self.members:
            self.members.append(machine)
            self.rebalance()

    def leave(self, machine: Machine) -> None:
        """One that says so, or is put out."""
        if machine in self.members:
            self.members.remove(machine)
            self.rebalance()

    def rebalance(self) -> None:
        """A new round: each member learns of it with its next heartbeat."""
        self.round += 1
        self._here.clear()
        self._world.note(f"round {self.round} of the group")
        for machine in self.members:
            self.tell(machine)
        self._world.later(REBALANCE_TIMEOUT_S, self._put_out_late, self.round)

    def tell(self, machine: Machine) -> None:
        """Its next heartbeat is answered with that there is a new round."""
        self._world.later(self._rng.random() * HEARTBEAT_S, self._answer, machine)

    def _answer(self, machine: Machine) -> None:
        machine.call(machine.learn, self.round)

    def ready(self, machine: Machine, round: int) -> None:
        """It has let go of all it had, for this round."""
        if machine not in self.members:
            self.join(machine)
        elif round != self.round:
            self.tell(machine)
        elif machine not in self._here:
            self._here.append(machine)
            if len(self._here) == len(self.members):
                self._assign()

    def suspect(self, machine: Machine) -> None:
        """Nothing is heard of it; when that is so for as long as a session, it is put out."""
        self._world.later(SESSION_S, self._put_out_silent, machine)

    def _put_out_silent(self, machine: Machine) -> None:
        if machine.silent_s() >= SESSION_S - 0.001:
            self.leave(machine)

    def _put_out_late(self, round: int) -> None:
        if round == self.round and len(self._here) < len(self.members):
            self.members = list(self._here)
            self.rebalance()

    def _assign(self) -> None:
        shares: list[list[int]] = [[] for _ in self.members]
        for number in range(PARTITIONS):
            self._rng.choice(shares).append(number)
        for machine, share in zip(self.members, shares, strict=True):
            delay_s = self._rng.random() * 0.02
            self._world.later(delay_s, machine.call, machine.assign, frozenset(share), self.round)
