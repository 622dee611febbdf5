"""Kinds of values on the command line."""

import math

import click

from schemas.instants import DURATION_MS_MAX, parse_duration, parse_instant


class InstantType(click.ParamType):
    """An instant on the command line, to epoch ms."""

    name = "instant"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Epoch ms; a date alone is its midnight in UTC."""
        if isinstance(value, int):
            return value
        at_ms = parse_instant(value, offset_required=False)
        if at_ms is None:
            self.fail(f"expected an instant such as 2026-03-01 or 2026-03-01T09:30:00Z, got {value!r}", param, ctx)
        return at_ms


class DurationType(click.ParamType):
    """A duration on the command line, to milliseconds."""

    name = "duration"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Milliseconds."""
        if isinstance(value, int):
            return value
        duration_ms = parse_duration(value)
        if duration_ms is None or duration_ms > DURATION_MS_MAX:
            self.fail(f"expected a duration such as 500ms, 2s or 1d12h, got {value!r}", param, ctx)
        return duration_ms


class RateType(click.ParamType):
    """So many a second, more than none."""

    name = "number"

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """As it is; `nan` and `inf` are no rates."""
        try:
            rate = float(value)
        except ValueError:
            rate = math.nan
        if not 0 < rate < math.inf:
            self.fail(f"expected a number above 0, got {value!r}", param, ctx)
        return rate
