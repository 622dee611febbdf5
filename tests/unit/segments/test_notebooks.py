"""What documentation shows of the Python API and of `explain`: run as it stands, where there is nothing of Kafka."""

import re
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import segments
import segments.evaluate
from streams import cli

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text()
IS_COMPILED = not str(segments.evaluate.__file__).endswith(".py")
# what a notebook needn't have; `segments` itself asks for msgspec, orjson, PyYAML, RE2 and tzdata
ABSENT = (
    "faust",
    "mode",
    "aiokafka",
    "aiohttp",
    "redis",
    "click",
    "jinja2",
    "pydantic",
    "rich",
    "uvloop",
    "streams",
    "actions",
)
BLOCK = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {ABSENT!r}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
"""


def shown(title: str) -> tuple[str, str]:
    """A command in the README that begins so, and what it is said to print."""
    (found,) = re.findall(rf"^\$ ({re.escape(title)}[^\n]*)\n(.*?)(?=^\$|^```)", README, re.MULTILINE | re.DOTALL)
    return found


@pytest.fixture
def cart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The two files at the top of the README, in the current directory."""
    for name in ("cart.yaml", "cart.jsonl"):
        (tmp_path / name).write_text(shown(f"cat {name}")[1])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path


@pytest.mark.parametrize("title", ["tidegate simulate", "tidegate explain"])
def test_commands_of_the_readme_print_what_it_says(title: str, cart: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first thing that anyone tries."""
    command, expected = shown(title)

    assert cli.run(shlex.split(command)[1:]) == 0
    assert capsys.readouterr().out == expected


def run(code: str, folder: Path) -> str:
    """What code prints in a Python that has none of `ABSENT`."""
    done = subprocess.run(
        [sys.executable, "-c", BLOCK + code],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_notebook_example_of_the_readme_runs(cart: Path) -> None:
    """In an environment of its own."""
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)

    assert run(code, cart).splitlines() == [
        "ada entered abandoned-cart timer",
        "ada left abandoned-cart event",
        "1 entered",
        "not in Change(at_ms=1772967737000, answer=True)",
    ]


def test_the_example_of_the_package_runs(tmp_path: Path) -> None:
    """It is what `help(segments)` shows."""
    assert segments.__doc__ is not None
    (code,) = re.findall(r"(?<=\n\n)    from segments import .*?(?=\n\n\S)", segments.__doc__, re.DOTALL)
    lines = run(textwrap.dedent(code), tmp_path).splitlines()

    assert lines[0] == "c-17 entered trial-ending 1772625600000 timer"
    assert lines[1] == "True Change(at_ms=1772712000000, answer=False)"
    assert "c-17 is in trial-ending since 2026-03-04T12:00:00Z; it will leave at 2026-03-05T12:00:00Z" in lines[4]


def test_all_that_the_package_exports_is_there_and_said() -> None:
    """A notebook completes names from it. What the service alone needs says nothing where it is compiled."""
    assert sorted(segments.__all__) == segments.__all__
    unsaid = {name for name in segments.__all__ if not getattr(segments, name).__doc__}
    assert unsaid <= ({"ContactState", "Limits", "Program", "header"} if IS_COMPILED else set())
