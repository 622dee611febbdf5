"""`tidegate bench`: how fast, on this machine, beside a stock Faust agent."""

import click

from streams.cli.terminal import json_option, settings


@click.group()
def bench() -> None:
    """Measure the worker beside a stock Faust agent."""


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
