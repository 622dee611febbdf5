"""The plan of the newest definitions, followed from their topic."""

import asyncio
import logging
from collections.abc import Callable

from streams.definitions import DefinitionsReader, compile_plan
from streams.plan import Plan
from streams.revisions import DefinitionsUnreadable, InForce
from streams.settings import Settings

# whoever wrote state under a revision had read it, so it is there or gone
REVISION_TIMEOUT_S = 30.0

logger = logging.getLogger("tidegate.definitions")


class FollowedPlans:
    """Compiles each newer revision as it comes; `on_newer` is called after each."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._reader = DefinitionsReader(settings)
        self._plan: Plan | None = None
        self._older: dict[int, Plan] = {}
        self.on_newer: Callable[[], object] = lambda: None

    @property
    def current(self) -> Plan:
        """The newest plan."""
        assert self._plan is not None, "start it first"
        return self._plan

    async def start(self) -> None:
        """Reads what is in force. Raises `StreamsError`, `DefinitionErrors`, `RuleErrors`."""
        await self._reader.start()
        self._take(self._reader.in_force)
        if not self.current.revision:
            logger.warning(
                "no definitions are in force: contacts are kept, nobody enters anything; "
                "apply some with `tidegate segments apply`"
            )

    async def of(self, revision: int) -> Plan:
        """The plan of a revision, once it has been read: a new owner goes on under the one that it finds (I9).

        Raises `DefinitionsUnreadable` where that revision, or what it put in force, is gone.
        """
        if self.current.revision < revision:
            try:
                async with asyncio.timeout(REVISION_TIMEOUT_S):
                    self._take(await self._reader.changed(revision - 1))
            except TimeoutError:
                raise DefinitionsUnreadable(
                    f"expected revision {revision}, which state was written under, within {REVISION_TIMEOUT_S:g} s; the "
                    f"definitions topic has {self.current.revision}: was it made anew, or is the prefix another's? Restore "
                    "it, set TIDEGATE_PREFIX to the one that is meant, or begin under a new one"
                ) from None
        if self.current.revision == revision:
            return self.current
        if revision not in self._older:
            self._older[revision] = compile_plan(self._reader.in_force_at(revision), self._settings)
        return self._older[revision]

    async def follow(self) -> None:
        """Takes newer revisions up, for ever; raises what ends that."""
        while True:
            newer = await self._reader.changed(self.current.revision)
            if newer.number > self.current.revision:
                self._take(newer)
                self.on_newer()

    async def stop(self) -> None:
        """Ends the reading."""
        await self._reader.stop()

    def _take(self, in_force: InForce) -> None:
        self._plan = compile_plan(in_force, self._settings, self._plan)
        segments, rules, sequences = len(in_force.segments), len(in_force.rules), len(in_force.sequences)
        logger.info(
            "revision %d of the definitions: %d segments, %d rules, %d sequences",
            in_force.number, segments, rules, sequences,
        )  # fmt: skip
