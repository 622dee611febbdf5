"""What the metrics say of a worker, and that they say it as Prometheus has it by convention."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, get_args

import orjson
import pytest
from memory_log import FencedError, LogError
from prometheus_client.parser import text_string_to_metric_families
from test_worker import GRACE_MS, SLACK_MS, Bench, plan_of

from actions.own_events import ExitReason, OwnEvent, Said
from schemas.deliveries import LeftOut, Outcome
from schemas.events import parse_event
from streams.instruments import Counter, Family, Gauge, Histogram, Metric, text_of
from streams.metric_table import METRICS
from streams.metrics import Metrics
from streams.plan import Emitted, Plan
from streams.showing import show
from streams.skew import WINDOW_MS, Skew

EDITED = "segments: [{id: new, when: {event: A}}]"


def samples(bench: Bench) -> dict[str, float]:
    """Every sample by name and labels, as Prometheus reads them."""
    show(bench.worker)
    families = text_string_to_metric_families(bench.worker.metrics.text().decode())
    return {_named(sample): sample.value for family in families for sample in family.samples}


def _named(sample: Any) -> str:
    labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
    return sample.name + (f"{{{labels}}}" if labels else "")


@pytest.fixture
async def bench() -> Bench:
    made = Bench()
    await made.worker.take_over({0})
    return made


def test_names_units_and_words_follow_the_conventions() -> None:
    for metric in METRICS:
        assert metric.help and metric.do and metric.unit, metric
        assert not metric.name.endswith("_total"), "a counter's ending comes by itself"
        for unit in ("seconds", "bytes"):
            assert metric.name.endswith(f"_{unit}") == (metric.unit == unit), metric
        assert (metric.kind == "histogram") == bool(metric.buckets)
        assert list(metric.buckets) == sorted(metric.buckets)
        assert "contact" not in metric.labels
    assert len({metric.name for metric in METRICS}) == len(METRICS)


def test_what_is_declared_is_shown_with_its_type() -> None:
    families = {each.name: each.type for each in text_string_to_metric_families(Metrics().text().decode())}
    assert {f"tidegate_{metric.name}": metric.kind for metric in METRICS}.items() <= families.items()


def test_a_histogram_takes_a_value_many_times_and_its_bounds_are_closed() -> None:
    histogram = Histogram(Metric("x_seconds", "histogram", "seconds", "h", "d", buckets=(1.0, 2.0)))
    histogram.observe(1.0, 3)
    histogram.observe(1.5)
    histogram.observe(9.0, 2)
    family = Family(Metric("x_seconds", "histogram", "seconds", "h", "d", ("of",), (1.0, 2.0)), Histogram)
    family._children[("a",)] = histogram
    assert text_of(family).splitlines()[2:] == [
        'tidegate_x_seconds_bucket{of="a",le="1.0"} 3',
        'tidegate_x_seconds_bucket{of="a",le="2.0"} 4',
        'tidegate_x_seconds_bucket{of="a",le="+Inf"} 6',
        'tidegate_x_seconds_sum{of="a"} 22.5',
        'tidegate_x_seconds_count{of="a"} 6',
    ]


@pytest.mark.parametrize("value", [0.0, 1e300, 5e-324, 0.1, math.inf, -math.inf, math.nan, True])
def test_any_label_and_any_number_is_read_back_as_it_was(value: float) -> None:
    family = Family(Metric("x", "gauge", "things", "a \\ b\nc", "d", ("of",)), Gauge)
    for label in ('a "b"', "\\n", "\n", "ü{}", ""):
        family.labels(label).set(value)
    (read,) = text_string_to_metric_families(text_of(family))
    assert read.documentation == "a \\ b\nc; d"
    assert [sample.labels["of"] for sample in read.samples] == ['a "b"', "\\n", "\n", "ü{}", ""]
    assert all(sample.value == value or (value != value and sample.value != sample.value) for sample in read.samples)


def test_a_child_is_made_once_and_known_values_are_there_from_the_start() -> None:
    family = Family(Metric("x", "counter", "things", "h", "d", ("reason",), known=(("a",),)), Counter)
    assert [values for values, _ in family.items()] == [("a",)]
    family.labels("b").inc(2)
    assert family.labels("b").value == 2
    with pytest.raises(AssertionError):
        family.labels("b", "c")


async def test_latencies_run_from_the_log_and_from_due_and_grace_to_the_commit(bench: Bench) -> None:
    bench.publish()
    bench.clock.at_ms += 120
    await bench.commit()
    found = samples(bench)
    assert found["tidegate_end_to_end_seconds_sum"] == pytest.approx(0.12)
    assert found["tidegate_end_to_end_seconds_count"] == 1
    assert found["tidegate_evaluation_seconds_count"] == 1
    assert found["tidegate_timer_lag_seconds_count"] == 0
    # ten seconds' window of the segment; time is played up to the wall clock less slack and grace
    bench.clock.at_ms += 10_000 - 120 + GRACE_MS + SLACK_MS + 250
    await bench.commit()
    found = samples(bench)
    assert found["tidegate_timers_played_total"] == 1
    assert found["tidegate_timer_lag_seconds_sum"] == pytest.approx((SLACK_MS + 250) / 1000)
    assert found["tidegate_end_to_end_seconds_count"] == 1


async def test_with_the_arrival_clock_due_instants_have_no_lag() -> None:
    bench = Bench(arrival=True)
    await bench.worker.take_over({0})
    for seconds in (0, 60):
        for topic in ("one", "two"):
            at_ms = bench.clock.now_ms() + 1000 * seconds
            bench.publish(topic, receivedAt=at_ms, timestamp=at_ms)
    await bench.commit()
    bench.worker.metrics.text()
    assert samples(bench)["tidegate_timer_lag_seconds_count"] == 0


async def test_lag_commit_age_and_the_state_s_size_are_those_of_now(bench: Bench) -> None:
    for number in range(3):
        bench.publish(contact=f"c{number}")
    await bench.worker.feed()
    assert samples(bench)["tidegate_lag_records{partition=0,topic=one}"] == 3
    await bench.apply()
    bench.clock.at_ms += 700
    found = samples(bench)
    assert found["tidegate_lag_records{partition=0,topic=one}"] == 0
    assert found["tidegate_commit_age_seconds"] == pytest.approx(0.7)
    await bench.commit()
    found = samples(bench)
    assert found["tidegate_commit_age_seconds"] == 0
    states = bench.worker.partitions[0].committed.states
    assert found["tidegate_state_bytes"] == sum(map(len, states.values())) > 0
    await bench.restart()
    found = samples(bench)
    assert found["tidegate_state_bytes"] == sum(map(len, states.values()))
    assert found["tidegate_recovery_records_total"] > 0
    assert (found["tidegate_assigned"], found["tidegate_rebalances_total"]) == (1, 1)


@pytest.mark.parametrize(("error", "result"), [(LogError("x"), "aborted"), (FencedError("x"), "fenced")])
async def test_what_became_of_a_transaction_is_counted(bench: Bench, error: Exception, result: str) -> None:
    bench.publish()
    await bench.apply()

    def fail(what: str, partition: int) -> None:
        if what == "commit":
            raise error

    bench.fault = fail
    with pytest.raises(type(error)):
        await bench.worker.checkpoint(bench.worker.partitions[0])
    found = samples(bench)
    assert found[f"tidegate_transactions_total{{result={result}}}"] == 1
    assert found["tidegate_transactions_total{result=committed}"] == 0
    assert found["tidegate_end_to_end_seconds_count"] == 0


async def test_a_segment_that_is_removed_is_counted_out_under_its_own_name(bench: Bench) -> None:
    bench.publish()
    await bench.commit()
    bench.plans.older.append(bench.plans.current)
    bench.plans.current = plan_of(EDITED, 2)
    for _ in range(3):
        await bench.commit()
    found = samples(bench)
    assert found["tidegate_transitions_emitted_total{cause=edit,segment=a-lately,transition=left}"] == 1
    assert found["tidegate_segment_members{segment=other}"] == 0
    assert "tidegate_segment_members{segment=a-lately}" not in found


def test_clock_skew_is_the_least_age_of_fresh_records_of_the_last_minute() -> None:
    skew = Skew()
    assert math.isnan(skew.seconds(0.0))
    skew.take(900, 1_000.0)
    skew.take(-3_000, 2_000.0)
    skew.take(50, 3_000.0)
    assert skew.seconds(4_000.0) == -3.0
    skew.take(40, WINDOW_MS / 2 + 2_000.0)
    assert skew.seconds(WINDOW_MS / 2 + 2_000.0) == -3.0
    skew.take(60, WINDOW_MS + 3_000.0)
    assert skew.seconds(WINDOW_MS + 3_000.0) == 0.04
    assert math.isnan(skew.seconds(3 * WINDOW_MS))


def _plan(*sequences: str, revision: int = 1) -> Plan:
    return dataclasses.replace(plan_of(EDITED, revision), sequence_ids=sequences)


def _of_sequences(metrics: Metrics) -> dict[str, float]:
    """Every sample about sequences, by name and labels."""
    families = text_string_to_metric_families(metrics.text().decode())
    samples = [each for family in families for each in family.samples if family.name.startswith("tidegate_sequence")]
    return {_named(sample): sample.value for sample in samples}


def _said(sequence: str, name: str, **more: str) -> OwnEvent:
    value = orjson.dumps(
        {"type": "track", "userId": "c", "event": name, "properties": {"sequence": sequence, "version": 1, **more}}
    )
    return OwnEvent("c", 0, parse_event(value), value)


def _left_out(sequence: str, code: Any, kind: Any = "sequence") -> Outcome:
    return Outcome("d", "skipped", sequence, 1, "email", "c", "s", "2026-03-01T00:00:00Z", code=code, kind=kind)


def test_what_sequences_say_is_counted_by_sequence_and_by_reason() -> None:
    """What a `set` step has the contact take is nothing that a sequence says; what rules leave out is not counted here."""
    emitted, metrics = Emitted(), Metrics()
    metrics.name(_plan("welcome"))
    for what in (
        _said("welcome", "Sequence Entered"),
        _said("welcome", "Sequence Entered"),
        _said("welcome", "Sequence Exited", reason="loop"),
        _said("welcome", "Order Completed"),
        _left_out("welcome", "no_target"),
        _left_out("a-rule", "no_target", kind="rule"),
    ):
        emitted.say(b"c", what)
    metrics.emitted(emitted)

    assert {
        "tidegate_sequence_events_total{event=entered,sequence=welcome}": 2,
        "tidegate_sequence_events_total{event=exited,sequence=welcome}": 1,
        "tidegate_sequence_exits_total{reason=loop,sequence=welcome}": 1,
        "tidegate_sequence_skipped_total{code=no_target,sequence=welcome}": 1,
    } == {name: value for name, value in _of_sequences(metrics).items() if value}


async def test_every_series_of_a_sequence_is_there_from_when_it_comes_into_force(bench: Bench) -> None:
    """Prometheus sees no rise in a series that begins at 1."""
    bench.plans.current = _plan("welcome", revision=2)
    await bench.commit()
    found = _of_sequences(bench.worker.metrics)
    assert set(found.values()) == {0}
    assert len(found) == len(get_args(Said)) + len(get_args(ExitReason)) + len(get_args(LeftOut))


def test_a_sequence_that_is_removed_is_counted_out_under_its_own_name_and_then_forgotten() -> None:
    emitted, metrics = Emitted(), Metrics()
    metrics.name(_plan("old"))
    emitted.say(b"c", _said("old", "Sequence Exited", reason="removed"))
    metrics.name(_plan("new"))
    metrics.emitted(emitted)
    assert metrics.sequence_exits.labels("old", "removed").value == 1
    metrics.name(_plan("newer"))
    assert {label.split("sequence=")[1] for label in _of_sequences(metrics)} == {"new}", "newer}"}
    metrics.emitted(emitted)
    assert metrics.sequence_exits.labels("other", "removed").value == 1


def test_of_very_many_sequences_the_first_are_labels_and_the_rest_is_other() -> None:
    emitted, metrics = Emitted(), Metrics(segments_max=2)
    metrics.name(_plan("one", "two", "three", "four"))
    for sequence in ("one", "two", "three", "four", "one"):
        emitted.say(b"c", _said(sequence, "Sequence Entered"))
    metrics.emitted(emitted)

    counted = {labels: counter.value for labels, counter in metrics.sequence_events.items() if counter.value}
    assert {("four", "entered"): 1, ("one", "entered"): 2, ("other", "entered"): 2} == counted
