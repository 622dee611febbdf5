"""Watches over a worker's process: asks the watchdog every half second, says what it found, and ends what is stuck.

The loop itself is watched from a thread: one that doesn't get its turn can't say so. The end is an error of the app like
any other (last checkpoints where they can still be made, then exit status 1); from the thread, the end at once.
"""

import asyncio
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from schemas.topics import SOURCES, STATE
from streams.broker import admin
from streams.errors import StreamsError
from streams.settings import Settings
from streams.watchdog import Stall, Thing, Watchdog, standing_of
from streams.worker import Worker

logger = logging.getLogger("tidegate.watchdog")

LOOK_S = 0.5
# the broker answers several times a second, if only that there is nothing; this long without it, at most, and it is asked
UNANSWERED_MS = 10_000.0
ASK_EVERY_MS = 10_000.0

ADVICE = {
    "assignment": "the group {group} has given this worker no share: the broker may refuse its session (TIDEGATE_SESSION "
    "has to be within the broker's group.min.session.timeout.ms and group.max.session.timeout.ms), may not let it in, "
    "another member holds the group up, or a worker with a TIDEGATE_INSTANCE is back with another TIDEGATE_WEB_PORT within "
    "TIDEGATE_SESSION (after that it goes on)",
    "recovery": "reading the state has not moved: see that each partition of {state} has a leader",
    "reading": "nothing is read any more, though the broker answers others",
    "position": "there are records to take in, and the position has not moved",
    "commit": "a change waits for its commit: see the broker's log for __transaction_state, and its disks",
}
LOOP_HANGS = "the event loop has not had its turn"


class StalledError(StreamsError):
    """Something has not moved for TIDEGATE_STALL_EXIT. Operator's step: if it comes again after a restart, see what it says."""


class Guard:
    """One worker's."""

    def __init__(self, worker: Worker, settings: Settings) -> None:
        self.watchdog = Watchdog(settings.stall_exit_ms)
        self.away: str | None = None
        self._worker = worker
        self._settings = settings
        self._answered_ms = float("-inf")
        self._asking: asyncio.Task[str | None] | None = None
        self._doubt_ms = min(UNANSWERED_MS, self.watchdog.warn_ms / 2)
        self._said: set[str] = set()
        self._thread = LoopThread(settings.stall_exit_ms / 1000)

    async def follow(self) -> None:
        """Looks, for ever; raises StalledError when it is time to end."""
        clock = self._worker.clock
        self._thread.start()
        try:
            while True:
                before_ms = clock.spent_ms()
                await asyncio.sleep(LOOK_S)
                self._thread.beat()
                now_ms = clock.spent_ms()
                self._observe(now_ms - before_ms - 1000 * LOOK_S)
                self._look(now_ms)
        finally:
            self._thread.end()  # on its way out the loop may stand still for long

    def _observe(self, late_ms: float) -> None:
        if late_ms < self.watchdog.paused_ms:  # else the whole process was paused
            self._worker.metrics.loop_lag_seconds.observe(max(0.0, late_ms) / 1000)

    def _look(self, now_ms: float) -> None:
        standing = standing_of(self._worker)
        sure = self._ask(now_ms, standing)
        self.watchdog.look(standing, now_ms, answers=self.away is None)
        self._show()
        self._say(self.watchdog.told if sure else [])
        if sure and (stall := self.watchdog.fatal) is not None:
            raise StalledError(self._sentence(stall))

    def _ask(self, now_ms: float, standing: Mapping[Thing, Hashable]) -> bool:
        """Finds out, where it is in doubt, whether the broker is away; returns whether `away` holds.

        In doubt is a broker that has not answered, and one that has where something stalls all the same: a partition
        without a leader is away as well. Who is away stays so until a fresh client has been answered.
        """
        stalls = any(stall.stalled_ms >= self._doubt_ms for stall in self.watchdog.stalls)
        if not standing or not (stalls or self.away or self._worker.unanswered_ms >= self._doubt_ms):
            self.away = None
            return True
        if self._asking is not None and self._asking.done():
            self.away, self._asking = self._asking.result(), None
            self._answered_ms = now_ms
        if self._asking is None and now_ms - self._answered_ms > ASK_EVERY_MS:
            self._asking = asyncio.ensure_future(whats_away(self._settings))
        return now_ms - self._answered_ms < 2 * ASK_EVERY_MS

    def _show(self) -> None:
        stalled = {stall.problem: stall.stalled_ms for stall in self.watchdog.stalls}
        for (problem,), gauge in self._worker.metrics.stalled_seconds.items():
            gauge.set(stalled.get(problem, 0.0) / 1000)

    def _say(self, stalls: Sequence[Stall]) -> None:
        told = {stall.problem: stall for stall in stalls}
        for problem in told.keys() - self._said:
            logger.warning("%s", self._sentence(told[problem]))
        if self.away is not None and "broker" not in self._said:
            logger.warning("%s: nothing is lost, this worker goes on when it is back", self.away)
        saying = set(told) | ({"broker"} if self.away is not None else set())
        for problem in self._said - saying:
            logger.warning("%s", "kafka answers again" if problem == "broker" else f"no longer stalled ({problem})")
        self._said = saying

    def _sentence(self, stall: Stall) -> str:
        place = f"partition {stall.partition}: " if stall.partition >= 0 else ""
        words = ADVICE[stall.problem].format(group=self._settings.group, state=self._settings.topic(STATE.name))
        return f"stalled for {stall.stalled_ms / 1000:.0f} s ({stall.problem}): {place}{words}"


async def whats_away(settings: Settings) -> str | None:
    """Why a restart would not help: the broker doesn't answer a fresh client, or partitions have no leader; else None."""
    names = [settings.topic(topic.name) for topic in (*SOURCES, STATE)]
    try:
        async with admin(settings) as client:
            described = await client.describe_topics(names)
    except StreamsError as error:
        return str(error)
    without = [
        f"{topic['topic']}, partition {partition['partition']}"
        for topic in described
        for partition in topic["partitions"]
        if partition["leader"] < 0
    ]
    return f"expected a leader for each partition, {without[0]} (of {len(without)}) has none" if without else None


class LoopThread(threading.Thread):
    """Ends the process where its event loop hangs; says where it does, before that."""

    def __init__(self, exit_s: float) -> None:
        super().__init__(name="tidegate-watchdog", daemon=True)
        self._exit_s = exit_s
        bounds = Watchdog(1000 * exit_s)
        self._warn_s, self._paused_s = bounds.warn_ms / 1000, bounds.paused_ms / 1000
        self._watched = threading.get_ident()
        self._beat_s = time.monotonic()
        self._said = False
        self._ended = threading.Event()

    def start(self) -> None:
        """Begins; called on the loop that is watched."""
        self._watched = threading.get_ident()
        self.beat()
        super().start()

    def beat(self) -> None:
        """The loop has had its turn."""
        self._beat_s = time.monotonic()

    def end(self) -> None:
        """Watches no longer."""
        self._ended.set()

    def run(self) -> None:
        """Looks, until `end`."""
        before_s = time.monotonic()
        while not self._ended.wait(LOOK_S):
            now_s = time.monotonic()
            if now_s - before_s > self._paused_s:
                self.beat()  # the whole process was paused: no fault of the loop's
            before_s = now_s
            self._look(now_s - self._beat_s)

    def _look(self, silent_s: float) -> None:
        if silent_s < self._warn_s:
            self._said = False
        elif not self._said:
            self._said = True
            logger.warning("%s for %.0f s; it stands in\n%s", LOOP_HANGS, silent_s, self._stack())
        if self._exit_s and silent_s >= self._exit_s:
            logger.critical(
                "%s for %.0f s: this process ends, its supervisor has to start it again", LOOP_HANGS, silent_s
            )
            logging.shutdown()
            os._exit(1)

    def _stack(self) -> str:
        frame: Any = sys._current_frames().get(self._watched)
        return "".join(traceback.format_stack(frame)[-8:]) if frame is not None else "an unknown place"
