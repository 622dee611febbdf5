"""`tidegate bench`: how fast, on this machine."""

import click

from streams.cli.terminal import json_option, settings


@click.group()
def bench() -> None:
    """Measure the worker beside a stock Faust agent, and the core alone."""


@bench.command()
@json_option
def stream(as_json: bool) -> None:
    """Events a second through a stock Faust agent, raw aiokafka, and the worker with 10 and 100 segments, in one run.

    It uses topics under a prefix of its own on TIDEGATE_BROKER, and takes a few minutes.

    \b
    Example:
      TIDEGATE_BROKER=127.0.0.1:9092 tidegate bench stream --json
    """
    from streams.bench import run_stream

    run_stream(settings(), as_json=as_json)


@bench.command()
@click.option(
    "--events",
    type=click.IntRange(1_000, 10_000_000),
    default=100_000,
    show_default=True,
    help="How many events of each load.",
)
@click.option(
    "--full", is_flag=True, help="`simulate` on a million events, too: minutes more, and a gigabyte of memory."
)
@json_option
def core(events: int, full: bool, as_json: bool) -> None:
    """Events a second through the core alone with 10 to 10,000 segments, compiled and in pure Python, with no broker.

    A step is the contact's state decoded, one event applied, the state encoded; reading the event is counted apart. Each
    event touches the same few segments, however many there are. The loads are a month of generated events and, in a
    checkout, the real baskets of a grocer's customers. It takes some minutes, and one core.

    \b
    Example:
      tidegate bench core --json | jq .compiled.loads.generated.ratio
    """
    from streams.bench_builds import run_core

    run_core(events, full=full, as_json=as_json)
