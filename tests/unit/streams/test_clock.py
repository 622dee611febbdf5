"""The worker's clock: wherever the wall clock goes, nothing is due early for it."""

from __future__ import annotations

import itertools
import logging

import pytest

from streams.clock import SLEW, STEP_MS, SteadyClock

START_MS = 1_767_225_600_000
HOUR_MS = 3_600_000


class Machine:
    """Clocks to be set; `true_ms` is what the broker's would say."""

    def __init__(self) -> None:
        self.true_ms = float(START_MS)
        self.step_ms = 0.0
        self.clock = SteadyClock(lambda: self.true_ms + self.step_ms, lambda: self.true_ms)

    def off_ms(self, passed_ms: float = 0.0) -> float:
        """How far the clock is ahead, after so much more time."""
        self.true_ms += passed_ms
        return self.clock.now_ms() - int(self.true_ms)


def test_time_goes_on_with_the_monotonic_clock_where_the_wall_clock_agrees() -> None:
    machine = Machine()
    assert [machine.off_ms(passed_ms) for passed_ms in (0, 1, 999, HOUR_MS)] == [0, 0, 0, 0]


@pytest.mark.parametrize("step_ms", [STEP_MS + 1, HOUR_MS, -STEP_MS - 1, -HOUR_MS])
def test_a_step_of_the_wall_clock_is_not_followed_however_long_it_stands(step_ms: float) -> None:
    machine = Machine()
    machine.step_ms = step_ms
    assert [machine.off_ms(passed_ms) for passed_ms in (0, 1, 60_000, HOUR_MS, 24 * HOUR_MS)] == [0] * 5
    machine.step_ms = 0.0
    assert machine.off_ms(1) == 0


def test_records_of_the_true_time_do_not_let_a_wrong_wall_clock_be_followed() -> None:
    machine = Machine()
    machine.step_ms = HOUR_MS
    for _ in range(100):
        machine.clock.saw(int(machine.true_ms))
        assert machine.off_ms(1_000) == 0


@pytest.mark.parametrize("step_ms", [300.0, -300.0])
def test_a_small_difference_is_made_up_slowly_and_time_never_falls(step_ms: float) -> None:
    machine = Machine()
    machine.step_ms = step_ms
    seen = []
    for _ in range(100):
        off_ms = machine.off_ms(100)
        seen.append(machine.true_ms + off_ms)
        assert abs(off_ms) <= 300
    passed = [after_ms - before_ms for before_ms, after_ms in itertools.pairwise(seen)]
    assert 100 * (1 - SLEW) - 1 <= min(passed) and max(passed) <= 100 * (1 + SLEW) + 1
    assert abs(off_ms - step_ms) <= 1


def test_a_machine_that_was_paused_catches_up_as_far_as_records_prove_it() -> None:
    """A paused virtual machine: no clock of its moved, then its wall clock was set right."""
    machine = Machine()
    machine.clock = SteadyClock(lambda: machine.true_ms, lambda: machine.true_ms - machine.step_ms)
    machine.true_ms, machine.step_ms = machine.true_ms + 20_000, 20_000.0
    assert machine.off_ms() == -20_000
    machine.clock.saw(int(machine.true_ms) - 5_000)
    assert machine.off_ms() == -5_000
    machine.clock.saw(int(machine.true_ms) - 100)
    assert machine.off_ms() == -100
    assert machine.off_ms(10_000) == 0


def test_records_from_ahead_of_the_wall_clock_do_not_take_it_past_that() -> None:
    """The broker's clock may be wrong, too."""
    machine = Machine()
    machine.clock.saw(START_MS + HOUR_MS)
    assert machine.off_ms(1_000) == 0
    machine.step_ms = 10_000.0
    assert machine.off_ms() == 10_000


def test_a_step_is_said_once_and_so_is_its_end(caplog: pytest.LogCaptureFixture) -> None:
    machine = Machine()
    with caplog.at_level(logging.WARNING):
        for step_ms in (0.0, HOUR_MS, HOUR_MS, HOUR_MS + 1, 0.0, 0.0):
            machine.step_ms = step_ms
            machine.off_ms(10)
    off, again = (record.getMessage() for record in caplog.records)
    assert "3600.0 s" in off and "not followed" in off
    assert "again" in again


def test_the_machines_own_clocks_are_read_where_none_are_given() -> None:
    clock = SteadyClock()
    first_ms, spent_ms = clock.now_ms(), clock.spent_ms()
    assert abs(first_ms - SteadyClock().now_ms()) < 5_000
    assert clock.now_ms() >= first_ms
    assert clock.spent_ms() >= spent_ms
