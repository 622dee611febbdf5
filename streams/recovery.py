"""Faust's table and its recovery, replaced by the worker's take-over (`takeover.py`).

The table's changelog is the `state` topic; its store shows what is committed of the partitions that are ours. Faust's
assignor needs the table: it is what makes the source topics and the state topic go to workers together.
"""

import asyncio
from collections.abc import ItemsView, Iterator, KeysView, ValuesView
from typing import Any, NoReturn

from faust.stores import base
from faust.tables import Table
from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from mode import Service

from streams.log import OvertakenError
from streams.transport import numbers_of
from streams.worker import Worker

# after a take-over that a rebalance overtook, the next assignment is on its way: so long at most
OVERTAKEN_TIMEOUT_S = 60.0


class StateStore(base.Store):  # type: ignore[misc]  # faust has no types
    """Contacts' state records by contact, as committed; changes go through the worker alone."""

    @property
    def _worker(self) -> Worker:
        worker: Worker = self.app.worker
        return worker

    def persisted_offset(self, tp: Any) -> None:
        """Nothing is kept on disk."""

    async def need_active_standby_for(self, tp: Any) -> bool:
        """No standbys: reading a partition's state takes a second."""
        return False

    def reset_state(self) -> None:
        """Nothing: take-over decides what is kept."""

    def __getitem__(self, key: bytes) -> bytes:
        for committed in self._worker.committed.values():
            if key in committed.states:
                return committed.states[key]
        raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        return any(key in committed.states for committed in self._worker.committed.values())

    def __iter__(self) -> Iterator[bytes]:
        for committed in self._worker.committed.values():
            yield from committed.states

    def __len__(self) -> int:
        return sum(len(committed.states) for committed in self._worker.committed.values())

    def keys(self) -> KeysView[bytes]:
        """Contacts."""
        return KeysView(self)

    def values(self) -> ValuesView[bytes]:
        """State records."""
        return ValuesView(self)

    def items(self) -> ItemsView[bytes, bytes]:
        """Both."""
        return ItemsView(self)

    def __setitem__(self, *_: Any) -> NoReturn:
        raise TypeError("expected state to change in the worker's turns alone")

    __delitem__ = clear = apply_changelog_batch = __setitem__

    async def backup_partition(self, *_: Any, **__: Any) -> NoReturn:
        """Nothing is on disk."""
        raise NotImplementedError

    restore_backup = __setitem__


class StateTable(Table):  # type: ignore[misc]
    """The contacts' state as a Faust table."""

    def _new_store(self) -> StateStore:
        return StateStore(
            "memory://", self.app, self, table_name=self.name, key_type=bytes, value_type=bytes,
            key_serializer="raw", value_serializer="raw", options=self.options,
        )  # fmt: skip


class TakeOver(Recovery):  # type: ignore[misc]
    """Faust's recovery service: after each rebalance, the worker's take-over."""

    _job: asyncio.Task[None] | None = None

    @Service.task  # type: ignore[untyped-decorator]
    async def _slurp_changelogs(self) -> None:
        """Nothing: the state topic doesn't come by way of streams."""

    @Service.task  # type: ignore[untyped-decorator]
    async def _publish_stats(self) -> None:
        """Nothing: `worker.py` logs what a take-over took."""

    @Service.task  # type: ignore[untyped-decorator]
    async def _restart_recovery(self) -> None:
        overtaken: OvertakenError | None = None
        while not self.should_stop:
            timeout_s = None if overtaken is None else OVERTAKEN_TIMEOUT_S
            try:
                if await asyncio.wait_for(self.wait_for_stopped(self.signal_recovery_start), timeout_s):
                    break
            except TimeoutError:
                assert overtaken is not None
                raise overtaken from None
            self.signal_recovery_start.clear()
            self._job, overtaken = asyncio.ensure_future(self._take_over(self._generation_id)), None
            await asyncio.wait([self._job])
            if self._job.cancelled():
                continue
            try:
                self._job.result()  # an error ends the worker
            except OvertakenError as error:
                self.log.warning("a rebalance came before the take-over was through: %s", error)
                overtaken = error

    def on_partitions_revoked(self, revoked: Any) -> None:
        """Ends a take-over that is under way: going on, it could fence the next owner."""
        if self._job is not None:
            self._job.cancel()

    async def on_stop(self) -> None:
        """The same."""
        self.on_partitions_revoked(None)

    async def _take_over(self, generation: int) -> None:
        app, consumer = self.app, self.app.consumer
        (table,) = self.tables.values()
        self._set_recovery_started()
        await app.worker.take_over(numbers_of(self.active_tps))
        await app.on_rebalance_complete.send()
        self._set_recovery_ended()
        await table.on_recovery_completed(self.actives_for_table[table], set())
        if app.consumer_generation_id != generation:
            return
        self.completed.set()
        app.flow_control.resume()
        consumer.resume_partitions({tp for tp in consumer.assignment() if not self._is_changelog_tp(tp)})
        consumer.resume_flow()
        await app._fetcher.maybe_start()
        self.tables.on_actives_ready()
        self.tables.on_standbys_ready()
        app.on_rebalance_end()


class StateTableManager(TableManager):  # type: ignore[misc]
    """Faust's table manager with our recovery."""

    _recovery: TakeOver | None

    @property
    def recovery(self) -> TakeOver:
        """The recovery service."""
        if self._recovery is None:
            self._recovery = TakeOver(self.app, self, beacon=self.beacon, loop=self.loop)
        return self._recovery
