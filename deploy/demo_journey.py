"""First act: a year of 2,469 households' shopping goes in, and what comes out is what `simulate` says, to the millisecond."""

from __future__ import annotations

import collections
import json
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import orjson
import yaml
from journey import events
from rich.console import Console, Group
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from stage import DEPLOY, Stage, StageError, tidegate
from stage import TIDEGATE as COMMAND
from watch import Seen, Watch, pair_of

from streams.settings import load_settings

SEGMENTS = DEPLOY / "segments" / "journey.yaml"
STILL_S = 60.0
Pairs = dict[tuple[str, str], list[Seen]]


class Journey:
    """The act: two workers, a dispatcher, a publisher, and a reader of committed records who compares."""

    def __init__(self, stage: Stage, console: Console, limit: int | None) -> None:
        self.stage, self.console, self.limit = stage, console, limit
        self.settings = stage.settings("journey.", "arrival")
        self.names = {s["id"]: s["name"] for s in yaml.safe_load(SEGMENTS.read_text())["segments"]}
        self.workers = ("worker-1", "worker-2")
        self.published = 0

    def play(self, now_ms: int) -> None:
        """The whole act; raises `StageError` where the answers differ."""
        say = self.console.print
        path = self.stage.directory / "journey.jsonl"
        lines = [json.dumps(event, separators=(",", ":")) for event in events(now_ms, limit=self.limit)]
        path.write_text("\n".join(lines) + "\n")
        self.published = len(lines)
        say(
            f"[bold]{len(lines):,} real events[/]: a grocer's baskets, coupons and mailings, moved so that the last is now"
        )
        tidegate(self.settings, "topics", "create")
        tidegate(self.settings, "segments", "apply", str(SEGMENTS), self._rules())
        say(f"{len(self.names)} segments in force; starting two workers and a dispatcher")
        children = [self.stage.process(name, self.settings, "worker") for name in self.workers]
        children.append(self.stage.process("dispatcher", self.settings, "dispatcher"))
        for child in children:
            self.stage.ready(child)
        expected = self._simulate(path)
        watch = Watch(load_settings(self.settings)).start()
        started_s = time.monotonic()
        try:
            with expected() as expected_count:
                self._publish_and_show(path, watch, expected_count)
        finally:
            watch.stop()
        took_s = time.monotonic() - started_s
        self._compare(self._expected(path.with_suffix(".out")), watch)
        say(
            f"[green]✓[/] Kafka, two workers, read committed: [bold]{watch.count:,} transitions[/] of "
            f"{self.published:,} events in {took_s:.1f} s. [bold]`tidegate simulate` says the very same[/], "
            "each with its number, instant and cause; none twice, none missing"
        )
        self._tell_left_out()

    def _rules(self) -> str:
        rules = (DEPLOY / "rules" / "journey.yaml").read_text()
        path = self.stage.directory / "journey-rules.yaml"
        path.write_text(rules.replace("http://127.0.0.1:8080/hooks", self.stage.urls["webhook"]))
        return str(path)

    def _simulate(self, path: Path):  # type: ignore[no-untyped-def]
        """Starts `tidegate simulate` beside it; the context gives a function that says how many came out, when known."""
        out = path.with_suffix(".out")

        @contextmanager
        def running() -> Iterator[object]:
            with out.open("wb") as to:
                process = subprocess.Popen(
                    [COMMAND, "simulate", str(SEGMENTS), str(path)],
                    stdout=to,
                    stderr=subprocess.PIPE,
                    env=self.settings,
                )

                def count() -> int | None:
                    status = process.poll()
                    if status:
                        raise StageError(f"tidegate simulate ended with status {status}")
                    return None if status is None else out.read_bytes().count(b"\n")

                try:
                    yield count
                finally:
                    process.kill()
                    process.communicate()

        return running

    def _publish_and_show(self, path: Path, watch: Watch, expected_count: object) -> None:
        publisher = subprocess.Popen(
            [COMMAND, "publish", str(path)], env=self.settings, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        try:
            with Live(console=self.console, refresh_per_second=4, transient=not self.console.is_terminal) as live:
                self._follow(publisher, watch, expected_count, live)
        finally:
            publisher.kill()
            publisher.communicate()

    def _follow(self, publisher, watch, expected_count, live) -> None:  # type: ignore[no-untyped-def]
        """Until as many transitions are readable as are expected, and the workers have nothing left."""
        expected, moved_s, seen, said_s = None, time.monotonic(), -1, 0.0
        while True:
            if publisher.poll():
                raise StageError(f"tidegate publish failed: {publisher.stderr.read().decode()}")
            expected = expected_count() if expected is None else expected
            taken = sum(self.stage.scrape(name, "tidegate_events_taken_total") for name in self.workers)
            now_s = time.monotonic()
            if self.console.is_terminal:
                live.update(self._screen(watch, taken))
            elif now_s - said_s >= 2:
                said_s = now_s
                self.console.print(f"  {int(taken):>8,} records applied, {watch.count:>8,} transitions readable")
            if publisher.poll() == 0 and expected is not None and watch.count >= expected and taken >= self.published:
                if self.console.is_terminal:
                    live.update(self._screen(watch, taken))
                return
            if watch.count + taken != seen:
                seen, moved_s = watch.count + taken, now_s
            elif now_s - moved_s > STILL_S:
                raise StageError(f"nothing moved for {STILL_S:.0f} s: {watch.count:,} transitions, expected {expected}")
            time.sleep(0.25)

    def _screen(self, watch: Watch, taken: float) -> Group:
        table = Table(box=None, padding=(0, 2), title_justify="left")
        for column in ("segment", "in it now", "entered", "left"):
            table.add_column(column, justify="left" if column == "segment" else "right")
        table.add_column("")
        for id, name in self.names.items():
            counts = (watch.members(id), watch.entered[id], watch.left[id])
            table.add_row(f"[bold]{id}[/]", *(f"{count:,}" for count in counts), f"[dim]{name}[/]")
        bar = ProgressBar(total=self.published, completed=min(taken, self.published), width=60)
        latest = [
            Text(
                f"  {t['at']}  {t['contact']:<16} {t['transition']:<8} {t['segment']:<22} by {t['cause']}", style="dim"
            )
            for t in watch.latest
        ]
        head = Text(f"{int(min(taken, self.published)):,} of {self.published:,} events applied")
        return Group(head, Padding(bar, (0, 0, 1, 0)), table, Text("latest transitions"), *latest)

    def _expected(self, out: Path) -> Pairs:
        pairs: Pairs = collections.defaultdict(list)
        for line in out.read_bytes().splitlines():
            t = orjson.loads(line)
            pairs[pair_of(t)].append((t["seq"], t["transition"], t["at"], t["cause"]))
        return pairs

    def _compare(self, expected: Pairs, watch: Watch) -> None:
        got = watch.by_pair
        different = [pair for pair in expected.keys() | got.keys() if expected.get(pair) != got.get(pair)]
        if different:
            pair = min(different)
            raise StageError(
                f"{len(different)} of {len(expected)} (segment, contact) differ from `simulate`; the first is {pair}: "
                f"expected {expected.get(pair)}, got {got.get(pair)}"
            )

    def _tell_left_out(self) -> None:
        lines = tidegate(self.settings, "tail", "outcomes", "--from-beginning", "--until-idle", "1s").splitlines()
        sent = len(self.stage.receipts())
        if sent or not lines:
            raise StageError(
                f"expected history to message nobody, with outcomes: {sent} messages, {len(lines)} outcomes"
            )
        self.console.print(
            f"[green]✓[/] history messages nobody: the rule `welcome` sent 0, left out {len(lines):,}, "
            "each with an outcome; one of them:"
        )
        self.console.print(f"  {json.loads(lines[0])['reason']}", style="dim")


def environment_lines(settings: Mapping[str, str]) -> str:
    """The settings of a prefix as shell."""
    return "\n".join(f"  export {name}='{value}'" for name, value in settings.items() if name.startswith("TIDEGATE_"))
