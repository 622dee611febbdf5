"""`tidegate status`: how things stand, on one screen."""

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from schemas.instants import format_instant
from streams.cli.terminal import json_option, print_json, print_table, run, settings

if TYPE_CHECKING:
    from streams.status import Status


@click.command()
@json_option
def status(as_json: bool) -> None:
    """Show how the workers stand: problems first, then workers with their partitions, lag, revision, what was rejected.

    Asks Kafka alone, so it works while workers are down; a worker that can be reached at the address of its metrics
    tells more. What Kafka says is as of the last checkpoint of each partition, a second ago at most while events come.

    \b
    JSON (fields are only ever added; what isn't known is null):
      at, problems [...], group {name, state, revision}, lag {topic: records}, overdue_s, rejected {reason: count},
      paused [...], deliveries {untaken, since}, workers [{name, host, partitions, metrics, unasked}],
      partitions [{number, owner, lag, revision, arrival, due}]

    \b
    Example:
      tidegate status --json | jq -r '.problems[]'
    """
    from streams.clock import SystemClock
    from streams.status_reading import read_status

    found = run(read_status(settings(), SystemClock().now_ms()))
    if as_json:
        print_json(_json(found))
    else:
        _print(found)


def _print(found: "Status") -> None:
    problems = found.problems()
    for problem in problems:
        click.echo(click.style("! ", fg="red", bold=True) + problem)
    if not problems:
        click.echo(click.style("all is well", fg="green"))
    click.echo(f"\n{found.group}: {found.group_state}, revision {found.revision} of the definitions\n")
    if found.workers:
        print_table(("worker", "host", "partitions", "contacts", "says"), _workers(found), False)
        click.echo()
    rows = [(topic, f"{lag:,}") for topic, lag in [*found.lag.items(), ("deliveries", found.untaken)]]
    print_table(("topic", "lag"), rows, False)
    overdue = "not known (no worker could be asked)" if found.overdue_s is None else f"{found.overdue_s:.1f} s"
    click.echo(f"\noldest due instant overdue by: {overdue}")
    for revision, numbers in found.revisions.items():
        click.echo(f"revision {revision} in force in {len(numbers)} of {len(found.partitions)} partitions")


def _workers(found: "Status") -> list[tuple[object, ...]]:
    return [
        (
            worker.name, worker.host, _spans(worker.partitions) or "none",
            f"{worker.metrics['contacts']:,.0f}" if worker.metrics else None, worker.unasked or "ok",
        )
        for worker in found.workers
    ]  # fmt: skip


def _spans(numbers: tuple[int, ...]) -> str:
    """`0-3, 7` for 0, 1, 2, 3, 7."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and spans[-1][1] == number - 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in spans)


def _json(found: "Status") -> dict[str, object]:
    return {
        "at": format_instant(found.now_ms),
        "problems": found.problems(),
        "group": {"name": found.group, "state": found.group_state, "revision": found.revision},
        "lag": found.lag,
        "overdue_s": found.overdue_s,
        "rejected": found.rejected,
        "paused": found.paused,
        "deliveries": {
            "untaken": found.untaken,
            "since": None if found.untaken_since_ms is None else format_instant(found.untaken_since_ms),
        },
        "workers": [asdict(worker) for worker in found.workers],
        "partitions": [
            {
                "number": each.number, "owner": each.owner, "lag": each.lag, "revision": each.revision,
                "arrival": None if each.arrival_ms is None else format_instant(each.arrival_ms),
                "due": None if each.due_ms is None else format_instant(each.due_ms),
            }
            for each in found.partitions
        ],
    }  # fmt: skip
