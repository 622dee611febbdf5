"""What of Faust's, mode's and aiokafka's insides we override or rely on: a new version that changes one fails here first.

`pyproject.toml` pins the three versions. For each inside the test says who needs it, so that a failure points to the code
to look at before the pin is moved.
"""

from __future__ import annotations

import asyncio
import inspect
from importlib.metadata import version
from typing import Any

import faust
import pytest
from aiokafka import AIOKafkaClient, AIOKafkaConsumer, TopicPartition, errors
from aiokafka.consumer.fetcher import Fetcher, FetchResult, PartitionRecords
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.consumer.subscription_state import Assignment, SubscriptionState, TopicPartitionState
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.producer.sender import Sender
from aiokafka.producer.transaction_manager import TransactionManager
from faust.assignor.partition_assignor import PartitionAssignor
from faust.stores.base import Store
from faust.tables import Table
from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from faust.transport.consumer import Consumer
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage
from mode.services import Service, ServiceTask
from mode.worker import Worker as ModeWorker

from streams.kafka_log import as_record
from streams.settings import load_settings

PINNED = {"faust-streaming": "0.15.3", "aiokafka": "0.14.0", "mode-streaming": "0.7.1"}


def parameters(function: Any) -> list[str]:
    """Names of a function's parameters, without self."""
    return [name for name in inspect.signature(function).parameters if name != "self"]


def source(thing: Any) -> str:
    """Its source text."""
    return inspect.getsource(thing)


@pytest.mark.parametrize("package", PINNED)
def test_the_versions_are_those_that_these_tests_were_written_for(package: str) -> None:
    assert version(package) == PINNED[package]


# ---- Faust: the consumer and its thread (streams/transport.py) --------------------------------------------------------


def test_the_drain_is_a_method_that_the_fetcher_service_calls_and_cancels() -> None:
    assert parameters(Consumer._drain_messages) == ["fetcher"]
    assert inspect.iscoroutinefunction(Consumer._drain_messages)
    from faust.transport.consumer import Fetcher as FetcherService

    assert "consumer._drain_messages(self)" in source(FetcherService)
    # while this is so, a drain that is cancelled in a rebalance has to return
    assert "self.supervisor.wakeup()" in source(FetcherService)


def test_the_consumer_makes_its_thread_in_a_method_of_its_own() -> None:
    assert "return AIOKafkaConsumerThread(self, loop=self.loop, beacon=self.beacon)" in source(
        driver.Consumer._new_consumer_thread
    )
    assert parameters(driver.AIOKafkaConsumerThread._create_worker_consumer) == ["transport"]
    assert inspect.iscoroutinefunction(driver.AIOKafkaConsumerThread.on_thread_stop)
    assert hasattr(driver.AIOKafkaConsumerThread, "_ensure_consumer")
    assert driver.Transport.Consumer is driver.Consumer


def test_flow_control_is_a_flag_with_events_and_two_methods() -> None:
    assert "self.flow_active = False" in source(Consumer.stop_flow)
    assert "self.can_resume_flow.set()" in source(Consumer.resume_flow)
    assert "self.can_resume_flow.clear()" in source(Consumer.stop_flow)


def test_faust_commits_in_force_commit_alone_and_waits_in_wait_empty() -> None:
    assert parameters(Consumer.force_commit) == ["topics", "start_new_transaction"]
    assert "await self.force_commit(" in source(Consumer.commit)
    assert "await T(self._consumer_wait_empty)(consumer, on_timeout)" in source(faust.App._on_partitions_revoked)
    assert "await consumer.wait_empty()" in source(faust.App._consumer_wait_empty)
    for acknowledged in ("_acked", "_acked_index"):
        assert f"self.{acknowledged} = " in source(Consumer.__init__)


def test_a_rebalance_stops_flow_and_clears_queues_before_it_waits() -> None:
    text = source(faust.App._on_partitions_revoked)
    steps = ["self.tables.on_partitions_revoked", "consumer.stop_flow", "flow_control.clear", "_consumer_wait_empty"]
    found = [text.index(step) for step in steps]
    assert found == sorted(found)


def test_a_consumer_message_takes_what_a_turn_gives_it() -> None:
    message = ConsumerMessage(
        "t", 0, 0, 0.0, 0, None, None, "turn", None, 0, 0, TP("t", 0), generation_id=1
    )  # fmt: skip
    assert message.value == "turn"
    assert message.tp == TP("t", 0)


# ---- Faust: table and recovery (streams/recovery.py) ------------------------------------------------------------------


def test_recovery_runs_in_the_tasks_that_we_replace() -> None:
    for name in ("_restart_recovery", "_slurp_changelogs", "_publish_stats"):
        assert isinstance(getattr(Recovery, name), ServiceTask)
    assert parameters(Recovery.on_partitions_revoked) == ["revoked"]
    text = source(Recovery.on_rebalance)
    assert "self.signal_recovery_start.set()" in text
    assert "self._generation_id = generation_id" in text
    assert "self.add_active(table, tp)" in text


def test_recovery_ends_with_the_steps_that_ours_ends_with() -> None:
    text = source(Recovery.on_recovery_completed)
    for step in (
        "on_rebalance_complete.send()",
        "_set_recovery_ended()",
        "self.actives_for_table[table]",
        "consumer_generation_id != generation_id",
        "consumer.resume_partitions(",
        "self.completed.set()",
        "flow_control.resume()",
        "consumer.resume_flow()",
        "_fetcher.maybe_start()",
        "self.tables.on_actives_ready()",
        "self.tables.on_standbys_ready()",
        "self.app.on_rebalance_end()",
    ):
        assert step in text, step


def test_the_table_manager_asks_its_recovery_property() -> None:
    assert isinstance(TableManager.recovery, property)
    assert "self._recovery = Recovery(" in source(TableManager.recovery.fget)
    assert parameters(Table._new_store) == []
    for name in ("persisted_offset", "need_active_standby_for", "on_rebalance", "on_recovery_completed"):
        assert hasattr(Store, name)


def test_an_app_with_a_table_uses_fausts_assignor_which_keeps_topics_together() -> None:
    assert "has_changelog_tables" in source(driver.AIOKafkaConsumerThread._create_worker_consumer)


# ---- aiokafka: reading (streams/kafka_log.py) -------------------------------------------------------------------------


def test_the_fetcher_keeps_what_it_has_fetched_where_we_look() -> None:
    init = source(Fetcher.__init__)
    for name in ("_records", "_closed", "_subscriptions"):
        assert f"self.{name} = " in init
    assert parameters(Fetcher.fetched_records) == ["partitions", "timeout", "max_records"]
    assert "self._fetch_waiters.add(fut)" in source(Fetcher._create_fetch_waiter)
    assert isinstance(SubscriptionState.reassignment_in_progress, property)
    assert hasattr(SubscriptionState, "fetch_context")


def test_fetched_records_waits_for_nothing_when_no_time_is_given_and_nothing_is_assigned_anew() -> None:
    text = source(Fetcher.fetched_records)
    assert "if drained or not timeout:" in text
    assert text.count("await") == 2


def test_records_are_made_by_a_method_that_can_be_replaced_on_the_instance() -> None:
    assert "self._consumer_record(tp, record)" in source(PartitionRecords._unpack_records)
    assert parameters(PartitionRecords._consumer_record) == ["tp", "record"]
    assert "self._partition_records = partition_records" in source(FetchResult.__init__)
    record = type("R", (), {"timestamp": 1, "offset": 2, "key": b"k", "value": b"v"})
    assert as_record(None, record) == (1, 2, b"k", b"v")


def test_a_partition_says_where_it_is_where_its_log_ends_and_when_that_was() -> None:
    for name in ("position", "lso", "highwater", "timestamp", "has_valid_position", "paused"):
        assert name in source(TopicPartitionState)
    assert "tp_state.timestamp = now_ms" in source(Fetcher._proc_fetch_request)
    assert parameters(Assignment.state_value) == ["tp"]


def test_partitions_are_asked_by_a_method_that_can_be_wrapped_on_the_instance() -> None:
    assert parameters(Fetcher._proc_fetch_request) == ["assignment", "node_id", "request"]
    assert "self._proc_fetch_request(assignment, node_id, request)" in source(Fetcher._fetch_requests_routine)
    text = source(Fetcher._proc_fetch_request)
    assert "for partition, offset, _ in partitions:" in text
    # from the answer on nothing is awaited: what is noted after it is in step with positions and ends
    assert "await " not in text[text.index("fetch_offsets = {}") :]


def test_pause_and_resume_want_aiokafkas_own_topic_partition() -> None:
    assert "isinstance(p, TopicPartition)" in source(AIOKafkaConsumer.pause)
    assert TP("t", 0) == TopicPartition("t", 0)


async def test_isolation_and_patience_can_be_set_before_the_consumer_starts() -> None:
    consumer = AIOKafkaConsumer(bootstrap_servers="127.0.0.1:1")
    assert consumer._isolation_level == "read_uncommitted"
    assert consumer._fetch_max_wait_ms == 500
    assert "fetch_max_wait_ms=self._fetch_max_wait_ms" in source(AIOKafkaConsumer.start)
    assert "isolation_level=self._isolation_level" in source(AIOKafkaConsumer.start)
    await consumer.stop()


def test_a_group_s_refusal_is_kept_until_somebody_asks_for_it() -> None:
    """`refuse_refused` looks for it: our reading asks the fetcher, and never `getmany`."""
    assert "self._pending_exception = exc" in source(GroupCoordinator._push_error_to_user)
    assert "raise exc" in source(GroupCoordinator.check_errors)
    assert "_coordinator.check_errors()" not in source(Fetcher.fetched_records)


def test_a_member_that_comes_back_for_its_partitions_has_to_have_the_url_that_it_had() -> None:
    """`app._membership` gives it one that depends on no port, and leaves it to the group to miss it."""
    assert "assert metadata.url == str(self._url)" in source(PartitionAssignor.on_assignment)
    assert "self.app.conf.canonical_url" in source(PartitionAssignor._url.fget)
    assert "self._group_instance_id is None" in source(GroupCoordinator._maybe_leave_group)


def test_a_member_with_a_name_is_not_told_by_its_heartbeats_that_another_has_it() -> None:
    """`instance.py` hears it: all that the group answers comes through one method, and what that raises stops joining."""
    assert "HeartbeatRequest(self.group_id, self.generation, self.member_id)" in source(GroupCoordinator._do_heartbeat)
    assert "resp = await self._send_req(request)" in source(GroupCoordinator._do_heartbeat)
    assert "except Errors.KafkaError as err:" in source(GroupCoordinator._do_heartbeat)
    assert "await self._push_error_to_user(exc)" in source(GroupCoordinator._GroupCoordinator__coordination_routine)
    assert not hasattr(errors, "FencedInstanceIdError")
    assert "await self._consumer.start()" in source(driver.AIOKafkaConsumerThread.on_start)


def test_services_say_how_they_failed_in_these_words_and_tell_all_above_them() -> None:
    """`ending.Explained` knows them by it; the app learns of the first cause by `_crash`."""
    assert '"Crashed reason=%r"' in source(Service.crash)
    assert "child._crash(reason)" in source(Service.crash)
    assert "Error while stopping child" in source(Service._default_stop_children)
    assert "We experienced a crash!" in source(ModeWorker._shutdown_loop)


# ---- aiokafka: writing ------------------------------------------------------------------------------------------------


def test_a_batch_says_that_it_is_full_by_returning_none_and_always_takes_one_record() -> None:
    batch = BatchBuilder(1_000, 0, is_transactional=1)
    assert batch.append(timestamp=None, key=b"k", value=b"v" * 5_000, headers=[("h", b"x")]) is not None
    assert batch.append(timestamp=None, key=b"k", value=b"v" * 5_000) is None


# ---- ours on top ------------------------------------------------------------------------------------------------------


def test_the_app_is_a_faust_app_with_an_agent_a_table_and_our_parts(tmp_path: Any) -> None:
    async def build() -> Any:
        from streams.app import build_app

        environment = {"TIDEGATE_WEB_PORT": "0", "TIDEGATE_DATA_DIR": str(tmp_path), "TIDEGATE_PREFIX": "t."}
        return build_app(load_settings(environment))

    app = asyncio.run(build())
    assert isinstance(app, faust.App)
    (agent,) = app.agents.values()
    assert "contacts" in agent.name
    (table,) = app.tables.values()
    assert table.changelog_topic.get_topic_name() == "t.state"
    assert app.conf.id == "t.worker"
    assert {type(app.tables).__name__, type(table).__name__} == {"StateTableManager", "StateTable"}


async def test_partitions_that_a_transaction_is_told_of_together_are_added_in_one_request() -> None:
    """`KafkaClaim.begin` tells it; what is written to one goes out once all of them are added."""
    manager = TransactionManager("id", 30_000)
    manager.set_pid_and_epoch(1, 1)
    manager.begin_transaction()
    for name in ("state", "transitions"):
        manager.maybe_add_partition_to_txn(TopicPartition(name, 0))

    assert manager.partitions_to_add() == {TopicPartition("state", 0), TopicPartition("transitions", 0)}
    assert "_do_add_partitions_to_txn(tps)" in source(Sender._maybe_do_transactional_request)
    assert "muted_partitions | txn_manager.partitions_to_add()" in source(Sender._sender_routine)


def test_a_failed_request_for_metadata_is_not_made_again() -> None:
    """`ask_for_missing` does that: topics that the group reads and the cluster doesn't know are asked for anew."""
    text = source(AIOKafkaClient._md_synchronizer)
    assert "timeout=self._metadata_max_age_ms / 1000" in text
    assert "if ret" not in text
    assert "self._group_subscription = all_subscribed_topics" in source(GroupCoordinator._perform_assignment)
    assert "self._on_metadata_change()" in source(GroupCoordinator._handle_metadata_update)
