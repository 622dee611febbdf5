"""A worker with a name (TIDEGATE_INSTANCE), and another one that joins the group under the same: there is room for one.

The group gives the newer one what the older one had, as it has to where a worker was started again. The broker would tell the
older one so, but aiokafka's heartbeats leave the name out: it hears that it is unknown, joins anew, and takes everything
back, so that the two of them take turns without a word. Here the older one ends instead, as it does in Java.
"""

import time
from collections.abc import Callable
from typing import Any

from aiokafka.errors import NoError, RebalanceInProgressError, UnknownMemberIdError
from aiokafka.protocol.group import HeartbeatRequest

from streams.log import LogError
from streams.settings import Settings

# FENCED_INSTANCE_ID, for which aiokafka has no class
FENCED = 82
_KNOWN = (NoError.errno, RebalanceInProgressError.errno)


class InstanceTakenError(LogError):
    """Another worker has joined under this one's name; the operator gives each worker a name of its own."""


class Instance:
    """Hears what the group tells this worker, on its consumer's loop."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock`: seconds of a clock that nobody sets."""
        self._settings = settings
        self._clock = clock
        self._known_s = float("-inf")
        self._taken = False

    def watch(self, coordinator: Any) -> None:
        """Looks at all that this aiokafka coordinator is answered from now on; a worker without a name needs none of it."""
        if not self._settings.instance:
            return
        send = coordinator._send_req

        async def heard(request: Any) -> Any:
            sent_s = self._clock()
            response = await send(request)
            self._hear(request, getattr(response, "error_code", None), sent_s)
            return response

        coordinator._send_req = heard

    def refuse_taken(self) -> None:
        """Raises InstanceTakenError once another worker has the name; may be called from any thread."""
        if self._taken:
            raise InstanceTakenError(
                f"expected no other worker under TIDEGATE_INSTANCE={self._settings.instance}, one has joined the group "
                f"{self._settings.group} and has this one's partitions: give each worker a name of its own, or none"
            )

    def _hear(self, request: Any, code: int | None, sent_s: float) -> None:
        """One that is unknown within its session was not given up by the group: somebody else goes by its name."""
        if code in _KNOWN:
            self._known_s = sent_s
        unknown = isinstance(request, HeartbeatRequest) and code == UnknownMemberIdError.errno
        if code == FENCED or (unknown and self._clock() - self._known_s < self._settings.session_ms / 1000):
            self._taken = True
        if self._taken and isinstance(request, HeartbeatRequest):
            self.refuse_taken()  # which keeps the coordinator from joining anew
