"""Disturbs workers and broker at random, under load, and compares what comes out with `simulate`: nothing may differ.

Kafka and the workers run in a directory of their own. The same seed draws the same disturbances; how they meet the
workers differs from run to run. Ends with status 1 and the first difference where there is one; the logs are kept then.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from services import ServiceError
from torture_check import Unequal
from torture_run import Summary, Torture
from torture_script import draw
from torture_workers import TortureError


def main() -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="deploy/torture", description=__doc__)
    parser.add_argument("--disturbances", type=int, default=100, metavar="N", help="how many (default: 100)")
    parser.add_argument(
        "--seed", type=int, default=time.time_ns() % 100_000, metavar="N", help="(default: another each time)"
    )
    parser.add_argument("--workers", type=int, default=3, metavar="N", help="how many at first (default: 3)")
    parser.add_argument("--clock", choices=["wall", "arrival"], default="wall", help="TIDEGATE_CLOCK (default: wall)")
    parser.add_argument("--rate", type=float, default=500.0, metavar="N", help="events a second (default: 500)")
    parser.add_argument("--pause", type=float, default=4.0, metavar="S", help="between two, on average (default: 4 s)")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    directory = Path(tempfile.mkdtemp(prefix="tidegate-torture-"))
    script = draw(arguments.seed, arguments.disturbances, pause_s=arguments.pause)
    _say(f"seed {arguments.seed}, {len(script)} disturbances, logs in {directory}")
    torture = Torture(
        directory, script, seed=arguments.seed, workers=arguments.workers, per_s=arguments.rate, clock=arguments.clock,
        say=_say,
    )  # fmt: skip
    try:
        summary = torture.run()
    except (Unequal, TortureError, ServiceError) as error:
        print(f"NOT equal: {error}\nseed {arguments.seed}, the logs are in {directory}", flush=True)
        return 1
    except KeyboardInterrupt:
        return 130
    _tell(summary)
    shutil.rmtree(directory, ignore_errors=True)
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _tell(summary: Summary) -> None:
    for what, times in sorted(summary.done.items()):
        print(f"{times:>8}  {what}")
    for how, times in summary.ended.most_common():
        print(f"{times:>8}  workers ended: {how}")
    print(f"{summary.stop_s_max:>8.1f}  seconds from SIGTERM to the end, at most")
    tally = summary.tally
    causes = ", ".join(f"{count:,} by {cause}" for cause, count in sorted(tally.by_cause.items()))
    print(f"{tally.events:>8,}  source records, {tally.rejected:,} of them bad and rejected, each once")
    print(f"{tally.transitions:>8,}  transitions: {causes}")
    print(f"{tally.messages:>8,}  deliveries of sequences")
    print(
        f"{tally.contacts:>8,}  contacts, {tally.aside:,} of them aside, as a foreign transaction held their events back"
    )
    print(f"{summary.seconds:>8.0f}  seconds")
    print("equal: the transitions are those of `simulate`, with nothing to deduplicate; memberships and state agree")


if __name__ == "__main__":
    sys.exit(main())
