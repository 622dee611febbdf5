"""The demo: real events through real Kafka, two workers, Redis, a mail server and a webhook; a cart's story; then many sources.

Ends by itself with status 0; any difference, and anything that doesn't come, ends it with status 1 and a sentence.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from demo_journey import Journey, environment_lines
from demo_sources import Sources
from demo_story import Story
from rich.console import Console
from stage import ServiceError, Stage, StageError

from streams.errors import StreamsError


def main() -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="deploy/demo", description=__doc__)
    parser.add_argument(
        "--keep", action="store_true", help="leave everything up at the end, and say how to play with it"
    )
    parser.add_argument("--events", type=int, metavar="N", help="only the first N events of the year")
    arguments = parser.parse_args()
    console = Console(highlight=False)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # what it can't do, our errors say
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    directory = Path(tempfile.mkdtemp(prefix="tidegate-demo-"))
    started_s = time.monotonic()
    ended_well = False
    try:
        console.print("starting Kafka, Redis, a webhook receiver and a mail server", highlight=False)
        with Stage(directory) as stage:
            journey, story = Journey(stage, console, arguments.events), Story(stage, console)
            console.rule("1. a year of real events", align="left")
            journey.play(time.time_ns() // 1_000_000)
            console.rule("2. the story of a cart, on the wall clock", align="left")
            story.play()
            console.rule("3. what a company already has sends events, unchanged", align="left")
            Sources(stage, console).play()
            console.print(f"[bold green]all of it in {time.monotonic() - started_s:.0f} s[/]")
            ended_well = True
            if arguments.keep:
                _keep(console, story.settings, directory)
        return 0
    except (ServiceError, StageError, StreamsError, TimeoutError) as error:
        console.print(f"error: {error}", style="red", markup=False)
        console.print(f"the logs are in {directory}", markup=False)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        if ended_well:
            shutil.rmtree(directory, ignore_errors=True)


def _keep(console: Console, settings: dict[str, str], directory: Path) -> None:
    console.print(f"\nEverything stays up until Ctrl-C; logs are in {directory}. In another terminal:\n", markup=False)
    console.print("  . .venv/bin/activate\n" + environment_lines(settings), markup=False, soft_wrap=True)
    console.print(
        "\n  tidegate tail transitions --from-beginning\n  tidegate deliveries list\n  tidegate segments list\n"
        '  echo \'{"type":"track","event":"Product Added","userId":"you"}\' > cart.jsonl; tidegate publish cart.jsonl\n'
        "  tidegate tail transitions                # and wait five seconds\n",
        markup=False,
        soft_wrap=True,
    )
    try:
        signal.pause()
    except KeyboardInterrupt:
        console.print("stopping")


if __name__ == "__main__":
    sys.exit(main())
