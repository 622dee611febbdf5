"""Everything CI checks, with the time each step took. `deploy/test` runs it.

What computes runs beside what waits for Kafka and Redis. Every step runs even where one before it failed, so that one
run tells all. Arguments are given to pytest; a selection that leaves a test step without a test is fine, one that leaves
all without is a failure.
"""

from __future__ import annotations

import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from compile_core import missing
from compiled_core import PURE
from services import Kafka, Redis, ServiceError
from tools import ROOT, RUN

BIN = Path(sys.executable).parent
NO_TESTS = 5  # pytest's exit status where nothing was selected
# of tests on Kafka and Redis at a time; such a file's tests wait more than they work
LANES = 2
# what tests have that take a broker or a Redis
MARK = "pytest.mark.kafka"
# the longest of them, begun first: what is begun last is what everything else waits for
LONG = (
    "worker_life", "dispatcher", "surroundings", "worker", "torture", "gateway", "dispatcher_life", "imports", "demo",
    "watchdog", "fields", "report", "poison",
)  # fmt: skip
PROPERTY, SIMULATION = "tests/property", "tests/simulation"
# what computes gives way to what waits for an answer within a time
AFTER_OTHERS = ("nice", "-n", "10")
# run on both builds of the core; of properties and the simulation, what the core's answers are part of: explanations and
# warnings are made of these
CORE_TESTS = [
    f"tests/{name}"
    for name in (
        "cases",
        "property/test_core_and_oracle.py",
        "property/test_hostile.py",
        "property/test_sequences.py",
        "realdata",
        "scenarios",
        "simulation/test_world.py",
        "unit/segments",
    )
]


@dataclass(frozen=True)
class Step:
    """Tests to run: a command, with what it has in its environment beside ours; `served` has it given a Kafka and a Redis."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    served: bool = False


Steps = queue.SimpleQueue[Step]


@dataclass(frozen=True)
class Result:
    """How a step ended: its exit status, and the seconds it took."""

    name: str
    status: int
    seconds: float

    @property
    def word(self) -> str:
        """The status in a word."""
        return {0: "ok", NO_TESTS: "no tests"}.get(self.status, f"FAILED ({self.status})")


def run(name: str, argv: Sequence[str]) -> Result:
    """Runs one step with its output shown as it comes."""
    print(f"\n=== {name}", flush=True)
    began = time.monotonic()
    status = subprocess.run(argv, cwd=ROOT, stdin=subprocess.DEVNULL, check=False).returncode
    result = Result(name, status, time.monotonic() - began)
    print(f"--- {name}: {result.word} in {result.seconds:.1f} s", flush=True)
    return result


class Aside:
    """A step that runs beside others, its output shown when it is asked for; ended with the block."""

    running: ClassVar[set[Aside]] = set()

    def __init__(self, name: str, argv: Sequence[str], env: Mapping[str, str]) -> None:
        self._name = name
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the block
        self._began = time.monotonic()
        self._process = subprocess.Popen(
            argv, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=self._output, stderr=subprocess.STDOUT
        )

    def __enter__(self) -> Aside:
        self.running.add(self)
        return self

    def __exit__(self, *_: object) -> None:
        self.running.discard(self)
        self.end()
        self._process.wait()
        self._output.close()

    def end(self) -> None:
        """Ends it, if it hasn't."""
        if self._process.poll() is None:
            self._process.terminate()

    def result(self) -> Result:
        """Waits for its end, and shows what it said."""
        status = self._process.wait()
        result = Result(self._name, status, time.monotonic() - self._began)
        self._output.seek(0)
        said = self._output.read().decode("utf-8", "replace")
        # in one piece, as others may print at the same time
        print(f"\n=== {self._name}\n{said}--- {self._name}: {result.word} in {result.seconds:.1f} s", flush=True)
        return result


def static_checks() -> list[Result]:
    """Format, lint, types, import rules."""
    words = {
        "format": ["ruff", "format", "--check", "."],
        "lint": ["ruff", "check", "."],
        "types": ["mypy"],
        "types of deploy/": ["mypy", "--strict", *sorted(str(path) for path in (ROOT / "deploy").glob("*.py"))],
        "import rules": ["lint-imports"],
    }
    return [run(name, [str(BIN / command), *arguments]) for name, (command, *arguments) in words.items()]


def core_is_compiled() -> bool:
    """Whether Python runs the compiled core here; False in pure Python."""
    code = "import segments.evaluate as core; print(core.__file__)"
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    return said != "" and not said.endswith(".py\n")


def computing(arguments: Sequence[str]) -> list[Step]:
    """The tests that need no broker, the longest first; those of the core on both its builds, where there are two."""
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not kafka"]
    slow = [*AFTER_OTHERS, *pytest]
    pure = [*slow, "--hypothesis-profile", "short", *(arguments or CORE_TESTS)]
    steps = [Step("tests of the core in pure Python", pure, {PURE: "1"})] if core_is_compiled() else []
    if arguments:
        return [*steps, Step("tests", [*pytest, *arguments])]
    return [
        *steps,
        Step("properties", [*slow, PROPERTY]),
        Step("tests", [*pytest, "--ignore", PROPERTY, "--ignore", SIMULATION]),
        Step("simulation", [*slow, SIMULATION]),
    ]


def waiting(arguments: Sequence[str]) -> list[Step]:
    """The tests that need a broker or a Redis, file by file, the longest first."""
    marked = [path for path in (ROOT / "tests").rglob("test_*.py") if MARK in path.read_text()]
    names = [str(path.relative_to(ROOT)) for path in sorted(marked, key=_longest_first)]
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "kafka"]
    return [Step(name, [*pytest, name, *arguments], served=True) for name in names]


def _longest_first(path: Path) -> tuple[int, int]:
    """As far as is known: by the list, then by size."""
    name = path.stem.removeprefix("test_")
    return LONG.index(name) if name in LONG else len(LONG), -path.stat().st_size


def tests(arguments: Sequence[str]) -> list[Result]:
    """All tests: some lanes take what waits, one what computes; who has none of his own left takes of the others'."""
    waits, computes = _queue(waiting(arguments)), _queue(computing(arguments))
    orders = [(computes, waits), *[(waits, computes)] * LANES]
    with ThreadPoolExecutor(len(orders)) as pool:
        try:
            return [*_lack_of_core(), *(result for lane in pool.map(_lane, orders) for result in lane)]
        except BaseException:  # ended: the lanes are not to go on
            for steps in (waits, computes):
                while not steps.empty():
                    steps.get_nowait()
            for step in tuple(Aside.running):
                step.end()
            raise


def _lack_of_core() -> list[Result]:
    """A failure where the core could have been compiled, and wasn't."""
    if core_is_compiled() or os.environ.get(PURE) or missing():
        return []
    print(
        "\nerror: expected a compiled core, as there is a C compiler, found none: .run/setup.log says why", flush=True
    )
    return [Result("compiled core", 1, 0.0)]


def _queue(steps: Sequence[Step]) -> Steps:
    queued = Steps()
    for step in steps:
        queued.put(step)
    return queued


def _taken(order: Sequence[Steps]) -> Iterator[Step]:
    """Takes steps until none is left, of one queue after the other."""
    for steps in order:
        while True:
            try:
                yield steps.get_nowait()
            except queue.Empty:
                break


def _lane(order: Sequence[Steps]) -> list[Result]:
    """Runs steps until none is left; those that need services share some, whose logs are kept where one failed."""
    directory, results = Path(tempfile.mkdtemp(prefix="test-", dir=RUN)), list[Result]()
    services: dict[str, str] = {}
    with ExitStack() as stack:
        for step in _taken(order):
            began = time.monotonic()
            try:
                if step.served and not services:
                    services = _services(stack, directory)
            except ServiceError as error:
                print(f"\nerror: {error}", flush=True)
                return [*results, Result(step.name, 1, time.monotonic() - began)]
            own = {**step.env, **services} if step.served else step.env
            with Aside(step.name, step.argv, {**os.environ, **own}) as aside:
                results.append(aside.result())
    if all(result.status in (0, NO_TESTS) for result in results):
        shutil.rmtree(directory)
    elif services:
        print(f"the logs of Kafka and Redis are kept in {directory}", flush=True)
    return results


def _services(stack: ExitStack, directory: Path) -> dict[str, str]:
    """A Kafka and a Redis, started, as tests are told of them; ended with the stack."""
    kafka = stack.enter_context(Kafka(directory / "kafka"))
    redis = stack.enter_context(Redis(directory / "redis"))
    return {"TIDEGATE_TEST_BROKER": kafka.address, "TIDEGATE_TEST_REDIS": redis.url}


def passed(static: Sequence[Result], tested: Sequence[Result]) -> bool:
    """Whether every step is ok; a test step may have had nothing to run, not all of them."""
    return (
        all(result.status == 0 for result in static)
        and all(result.status in (0, NO_TESTS) for result in tested)
        and any(result.status == 0 for result in tested)
    )


def main() -> int:
    """Runs all and prints the summary; 0 if all is well."""
    began = time.monotonic()
    static = static_checks()
    tested = tests(sys.argv[1:])
    print(f"\n=== summary, {time.monotonic() - began:.0f} s in all")
    for result in [*static, *tested]:
        print(f"{result.word:>12}  {result.seconds:6.1f} s  {result.name}")
    ok = passed(static, tested)
    print("all checks passed" if ok else "some checks FAILED")
    return 0 if ok else 1


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the step that runs is ended with us
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
