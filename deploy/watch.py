"""A subscriber as any service could be: reads committed transitions in a thread, and counts them."""

from __future__ import annotations

import asyncio
import collections
import threading
import time
from typing import Any

import orjson

from streams.settings import Settings
from streams.tail import committed

# segment, with the value of its `per` where it has one, and contact
Pair = tuple[str, str]
Seen = tuple[int, str, str, str]


class Watch:
    """Committed transitions of one prefix from the beginning; every figure is what a read-committed reader has seen."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.by_pair: dict[Pair, list[Seen]] = collections.defaultdict(list)
        self.entered: collections.Counter[str] = collections.Counter()
        self.left: collections.Counter[str] = collections.Counter()
        self.latest: collections.deque[dict[str, Any]] = collections.deque(maxlen=6)
        self.readable_s: dict[tuple[str, str, int], float] = {}
        self.count = 0
        self.error: BaseException | None = None
        self._reading = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> Watch:
        """Starts reading; returns once it does."""
        self._thread.start()
        if not self._reading.wait(20):
            raise RuntimeError(f"expected to read transitions within 20 s: {self.error or 'no answer from the broker'}")
        return self

    def stop(self) -> None:
        """Ends the reading and the thread."""
        if self._loop is not None and self._task is not None:
            self._loop.call_soon_threadsafe(self._task.cancel)
            self._thread.join(10)

    def members(self, segment: str) -> int:
        """How many contacts are in the segment now."""
        return self.entered[segment] - self.left[segment]

    def wait(self, segment: str, contact: str, seq: int, timeout_s: float) -> dict[str, Any]:
        """The transition with that number, once it is readable; raises TimeoutError naming it."""
        until_s = time.monotonic() + timeout_s
        while (segment, contact, seq) not in self.readable_s:
            if time.monotonic() > until_s:
                raise TimeoutError(f"expected transition {seq} of {contact} and {segment} within {timeout_s:.0f} s")
            time.sleep(0.005)
        number, transition, at, cause = self.by_pair[segment, contact][seq - 1]
        return {"seq": number, "transition": transition, "at": at, "cause": cause}

    def _run(self) -> None:
        try:
            asyncio.run(self._read())
        except asyncio.CancelledError:
            pass
        except BaseException as error:
            self.error = error

    async def _read(self) -> None:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        async for records in committed(self._settings, ["transitions"], from_beginning=True, until_idle_s=None):
            self._reading.set()
            now_s = time.monotonic()
            for record in records:
                self._take(orjson.loads(record.value), now_s)

    def _take(self, transition: dict[str, Any], now_s: float) -> None:
        segment, contact, seq = transition["segment"], transition["contact"], transition["seq"]
        seen = (seq, transition["transition"], transition["at"], transition["cause"])
        self.by_pair[pair_of(transition)].append(seen)
        (self.entered if seq & 1 else self.left)[segment] += 1
        self.latest.append(transition)
        self.readable_s[segment, contact, seq] = now_s
        self.count += 1


def pair_of(transition: dict[str, Any]) -> Pair:
    """Which membership a transition is of."""
    key = transition.get("key")
    return transition["segment"] if key is None else f"{transition['segment']} {key}", transition["contact"]
