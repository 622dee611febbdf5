"""What the README promises names tests that show it, and those tests exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")
PROMISED = README.split("## What is promised\n")[1].split("\n## ")[0]
NAMED = re.findall(r"`(tests/[\w/.]+)::([^`]+)`", PROMISED)


def names_in(path: Path) -> set[str]:
    """The tests of a file: functions of Python, scenarios of YAML."""
    text = path.read_text("utf-8")
    if path.suffix == ".yaml":
        return {scenario["name"] for scenario in yaml.safe_load(text)}
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {each.name for each in ast.walk(ast.parse(text)) if isinstance(each, functions)}


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_a_test_that_shows_a_promise_exists(file: str, name: str) -> None:
    assert (ROOT / file).exists()
    assert name in names_in(ROOT / file)


def test_every_promise_names_a_test() -> None:
    lines = [line for line in PROMISED.splitlines() if line.startswith("| ") and not line.startswith("| |")]
    assert len(lines) > 15
    assert [line for line in lines if "`tests/" not in line.rsplit("|", 2)[1]] == []
    assert len(re.findall(r"tests/", PROMISED)) == len(NAMED), "each names a file and a test in it"


def test_the_readme_is_read_to_its_end() -> None:
    assert len(README.splitlines()) <= 300
