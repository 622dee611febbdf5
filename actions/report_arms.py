"""The paths of a split against its holdout: how many converted, and what a contact was worth, within the window."""

import msgspec

from actions.intervals import Interval, difference_of_means, difference_of_shares, share
from actions.report_facts import Entry, Facts
from actions.sequences import Split


class Arm(msgspec.Struct, frozen=True):
    """Contacts of one path whose window is over; differences are this path's less the other's, 95 % intervals.

    None: of `converted`, the goal is not known; of `value`, none is asked for; of differences, it is the other path itself,
    or one of the two has nobody.
    """

    path: str
    holdout: bool
    contacts: int
    converted: int | None
    conversion: float | None
    conversion_interval: Interval | None
    conversion_difference: float | None
    conversion_difference_interval: Interval | None
    value: float | None
    value_per_contact: float | None
    value_difference: float | None
    value_difference_interval: Interval | None


class SplitReport(msgspec.Struct, frozen=True):
    """A split: each path against `against`, its holdout or, where it has none, its first path.

    `too_early`: contacts whose window is not over yet, and which are in no arm.
    """

    split: str
    against: str
    has_holdout: bool
    too_early: int
    arms: list[Arm]


def compare(facts: Facts, split: Split, taken: list[tuple[Entry, str | None]], as_of_ms: int) -> SplitReport:
    """The paths of `split`; `taken`: entries of one version with the path that each took, None where none.

    Of each contact the first entry that took one counts.
    """
    firsts: dict[str, tuple[Entry, str]] = {}
    for entry, path in sorted(taken, key=lambda each: each[0].began_ms):
        if path is not None:
            firsts.setdefault(entry.contact, (entry, path))
    over = [each for each in firsts.values() if each[0].began_ms + facts.window_ms <= as_of_ms]
    arms = {path.name: [entry for entry, name in over if name == path.name] for path in split.paths}
    holdout = next((path.name for path in split.paths if path.then is None), None)
    against = split.paths[0].name if holdout is None else holdout
    return SplitReport(
        split=split.name,
        against=against,
        has_holdout=holdout is not None,
        too_early=len(firsts) - len(over),
        arms=[_arm(facts, name, name == holdout, arms[name], arms[against]) for name in arms],
    )


def _arm(facts: Facts, name: str, holdout: bool, entries: list[Entry], others: list[Entry]) -> Arm:
    known = all(facts.is_comparable(entry.version) for entry in (*entries, *others))
    converted = sum(_has_converted(facts, entry) for entry in entries)
    against = sum(_has_converted(facts, entry) for entry in others)
    shares = known and bool(entries)
    compared = bool(entries and others) and entries is not others
    valued = facts.value is not None
    values, others_values = [entry.value for entry in entries], [entry.value for entry in others]
    return Arm(
        path=name,
        holdout=holdout,
        contacts=len(entries),
        converted=converted if known else None,
        conversion=converted / len(entries) if shares else None,
        conversion_interval=share(converted, len(entries)) if shares else None,
        conversion_difference=converted / len(entries) - against / len(others) if known and compared else None,
        conversion_difference_interval=(
            difference_of_shares(converted, len(entries), against, len(others)) if known and compared else None
        ),
        value=sum(values) if valued else None,
        value_per_contact=_mean(values) if valued and entries else None,
        value_difference=_mean(values) - _mean(others_values) if valued and compared else None,
        value_difference_interval=difference_of_means(values, others_values) if valued and compared else None,
    )


def _has_converted(facts: Facts, entry: Entry) -> bool:
    return entry.goal_ms is not None and entry.goal_ms <= entry.began_ms + facts.window_ms


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
