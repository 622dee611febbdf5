"""Everything CI checks, one step after the other, with the time each took. `deploy/test` runs it.

Every step runs even where one before it failed, so that one run tells all. Arguments are given to pytest; a selection
that leaves a test step without a test is fine, one that leaves all without is a failure.
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
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from compile_core import missing
from compiled_core import PURE
from services import Kafka, Redis, ServiceError
from tools import ROOT, RUN

BIN = Path(sys.executable).parent
NO_TESTS = 5  # pytest's exit status where nothing was selected
# of tests on Kafka and Redis at a time
LANES = 2
# what tests have that take a broker or a Redis
MARK = "pytest.mark.kafka"
SIMULATION = "tests/simulation"
# run on both builds of the core; of the simulation, what the core's answers are part of
CORE_TESTS = [
    f"tests/{name}"
    for name in ("cases", "property", "realdata", "scenarios", "simulation/test_world.py", "unit/segments")
]


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


def run(name: str, argv: Sequence[str], env: Mapping[str, str] | None = None) -> Result:
    """Runs one step with its output shown as it comes."""
    print(f"\n=== {name}", flush=True)
    began = time.monotonic()
    status = subprocess.run(argv, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, check=False).returncode
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


def plain_tests(arguments: Sequence[str]) -> list[Result]:
    """The tests that need no broker; beside them the simulation, and those of the core on its sources.

    The first run on the compiled core, where there is a C compiler.
    """
    pytest = [sys.executable, "-m", "pytest", "-q", "-m", "not kafka"]
    if core_is_compiled():
        command = [*pytest, "-p", "no:cacheprovider", "--hypothesis-profile", "short", *(arguments or CORE_TESTS)]
        with Aside("tests of the core in pure Python", command, {**os.environ, PURE: "1"}) as pure:
            if arguments:
                return [run("tests", [*pytest, *arguments]), pure.result()]
            with Aside("simulation", [*pytest, "-p", "no:cacheprovider", SIMULATION], {**os.environ}) as simulation:
                return [run("tests", [*pytest, "--ignore", SIMULATION]), pure.result(), simulation.result()]
    plain = run("tests", [*pytest, *arguments])
    if os.environ.get(PURE) or missing():
        return [plain]
    print(
        "\nerror: expected a compiled core, as there is a C compiler, found none: .run/setup.log says why", flush=True
    )
    return [plain, Result("compiled core", 1, 0.0)]


def tests(arguments: Sequence[str]) -> list[Result]:
    """The tests that need nothing, then those that need a broker and a Redis, which are started for them."""
    return [*plain_tests(arguments), *real_tests(arguments)]


def real_tests(arguments: Sequence[str]) -> list[Result]:
    """The tests on a broker and a Redis, a file at a time in each of a few lanes with services of their own.

    Such tests wait more than they work, so two of them are through in little more time than one.
    """
    files: queue.SimpleQueue[str] = queue.SimpleQueue()
    marked = [path for path in (ROOT / "tests").rglob("test_*.py") if MARK in path.read_text()]
    for path in sorted(marked, key=_longest_first):
        files.put(str(path.relative_to(ROOT)))
    with ThreadPoolExecutor(LANES) as pool:
        try:
            return [result for lane in pool.map(lambda _: _lane(files, arguments), range(LANES)) for result in lane]
        except BaseException:  # ended: the lanes are not to go on
            while not files.empty():
                files.get_nowait()
            for step in tuple(Aside.running):
                step.end()
            raise


def _longest_first(path: Path) -> int:
    """By size, as far as that tells how long a file's tests take."""
    return -path.stat().st_size


def _lane(files: queue.SimpleQueue[str], arguments: Sequence[str]) -> list[Result]:
    """Runs files until none is left; the services' logs are kept where a test failed."""
    directory, began = Path(tempfile.mkdtemp(prefix="test-", dir=RUN)), time.monotonic()
    results: list[Result] = []
    with ExitStack() as stack:
        try:
            kafka = stack.enter_context(Kafka(directory / "kafka"))
            redis = stack.enter_context(Redis(directory / "redis"))
        except ServiceError as error:
            print(f"\nerror: {error}", flush=True)
            return [Result("Kafka and Redis", 1, time.monotonic() - began)]
        env = {**os.environ, "TIDEGATE_TEST_BROKER": kafka.address, "TIDEGATE_TEST_REDIS": redis.url}
        while True:
            try:
                file = files.get_nowait()
            except queue.Empty:
                break
            command = [sys.executable, "-m", "pytest", "-q", "-m", "kafka", file, *arguments]
            with Aside(file, command, env) as step:
                results.append(step.result())
    if all(result.status in (0, NO_TESTS) for result in results):
        shutil.rmtree(directory)
    else:
        print(f"the logs of Kafka and Redis are kept in {directory}", flush=True)
    return results


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
