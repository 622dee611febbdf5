"""What deploy/README.md says to operators is what the code has: topics, figures, commands, places."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from schemas.topics import TOPICS
from streams.api_tokens import SCOPES
from streams.app import STOP_TIMEOUT_S
from streams.cli import COMMANDS
from streams.dispatcher import STOP_S_MAX
from streams.memory import CONTACT_BYTES, TAKE_OVER_SHARE, WARN_SHARE
from streams.settings import SETTINGS

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "deploy" / "README.md").read_text("utf-8")
MAIN = (ROOT / "README.md").read_text("utf-8")


def section(title: str) -> str:
    """The text under a heading."""
    return README.split(f"\n## {title}\n")[1].split("\n## ")[0]


def test_the_table_of_topics_is_what_they_are_made_with() -> None:
    rows = []
    for topic in TOPICS:
        made = topic.configuration()
        cells = [made["cleanup.policy"], made.get("retention.ms", ""), made["message.timestamp.type"]]
        rows.append(f"| `{topic.name}` | {' | '.join(cells)} | {topic.partitions or 'all the same'} | {topic.holds} |")
    text = section("On a Kafka that exists")

    assert rows == [line for line in text.splitlines() if line.startswith("| `")]
    others = {entry for topic in TOPICS for entry in topic.configuration()}
    others -= {"cleanup.policy", "retention.ms", "message.timestamp.type"}
    assert all(f"`{entry}`" in text for entry in others)


def test_the_table_of_scopes_is_what_tokens_may_say() -> None:
    rows = [f"| `{name}` | {opens} |" for name, opens in SCOPES.items()]
    assert rows == [line for line in section("Asking over HTTP").splitlines() if line.startswith("| `")]


def test_figures_are_those_of_the_code() -> None:
    assert f"they need {STOP_TIMEOUT_S:g} and {STOP_S_MAX:g} at most" in section("In containers")
    stop_s = re.search(r"^TimeoutStopSec=(\d+)$", section("Without containers"), re.MULTILINE)
    assert stop_s and int(stop_s[1]) > STOP_TIMEOUT_S + 2
    unit = section("Without containers").split("```ini")[1]
    assert set(re.findall(r"TIDEGATE_\w+", unit)) <= {setting.variable for setting in SETTINGS}
    sizing = section("Sizing")
    assert f"{CONTACT_BYTES} bytes a contact more" in sizing
    assert "a warning at four fifths" in sizing
    assert WARN_SHARE == 0.8
    assert "needs a quarter more than it ends the worker" in sizing
    assert TAKE_OVER_SHARE == 1.25


@pytest.mark.parametrize("text", [README, MAIN], ids=["deploy/README.md", "README.md"])
def test_commands_that_are_named_exist(text: str) -> None:
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL) + re.findall(r"`(tidegate [^`]+)`", text))
    named = set(re.findall(r"\btidegate ([a-z]+)", blocks))
    assert {"topics", "segments"} <= named <= set(COMMANDS)


@pytest.mark.parametrize(
    ("text", "at"), [(README, ROOT / "deploy"), (MAIN, ROOT)], ids=["deploy/README.md", "README.md"]
)
def test_links_lead_somewhere(text: str, at: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", text):
        path, _, anchor = target.partition("#")
        assert (at / path).exists() if path else True, target
        if anchor:
            there = (at / path).read_text("utf-8") if path else text
            assert anchor in {_anchor(title) for title in re.findall(r"^#+ (.+)$", there, re.MULTILINE)}, target


def test_names_of_the_code_that_are_given_are_there() -> None:
    for name, path in re.findall(r"`([A-Z_]+)` in `([\w/]+\.py)`", README):
        assert re.search(rf"^{name} = ", (ROOT / path).read_text("utf-8"), re.MULTILINE), name
    assert "`META_FORMAT`" in section("Upgrading")


def test_what_the_folder_holds_is_listed() -> None:
    listed = set(re.findall(r"^\| `([\w./]+)`|, `([\w./]+)` \|", README.split("\n## ")[0], re.MULTILINE))
    names = {name.rstrip("/") for pair in listed for name in pair if name}
    assert [name for name in sorted(names) if not (ROOT / "deploy" / name).exists()] == []
    assert "prometheus" in names


def _anchor(title: str) -> str:
    """As GitHub makes it of a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
