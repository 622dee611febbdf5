"""`tidegate render`: what messages would say, and what is wrong with them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from streams import cli

FILE = """
segments: [{id: pro, when: {trait: plan, eq: pro}}]
rules:
  - {id: hello, on: {segment: pro}, channel: email, target: {trait: email}, group: news,
     template: {subject: "Hi {{ traits.name }}", text: "{{ unsubscribe_url }}", html: "<b>{{ traits.name }}</b>"}}
  - {id: crm, on: {segment: pro, transition: left}, channel: webhook, target: "https://crm.example/", secret: CRM}
sequences:
  - id: welcome
    on: {segment: pro}
    steps: [{send: {channel: slack, secret: SALES, template: {text: "{{ traits.name }} & co"}}, name: told}]
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    """A file with two rules and a sequence."""
    path = tmp_path / "all.yaml"
    path.write_text(FILE)
    return str(path)


def test_every_message_is_rendered_as_its_channel_does_it(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    traits = json.dumps({"name": "<Ada>", "email": "ada@shop.example"})
    assert cli.run(["render", file, "--contact", "c-1", "--traits", traits, "--at", "2026-03-01", "--json"]) == 0
    shown = {each["of"]: each for each in json.loads(capsys.readouterr().out)}
    hello = shown["hello"]
    assert hello["target"] == "ada@shop.example"
    assert hello["parts"] == {
        "subject": "Hi <Ada>",
        "text": "https://unsubscribe.example/",
        "html": "<b>&lt;Ada&gt;</b>",
    }
    assert shown["welcome/told"]["parts"] == {"text": "&lt;Ada&gt; & co"}
    body = json.loads(shown["crm"]["parts"]["body"])
    assert (body["type"], body["timestamp"], body["data"]["contact"]) == (
        "segment.left",
        "2026-03-01T00:00:00.000Z",
        "c-1",
    )


def test_what_a_contact_does_not_have_is_said_and_is_an_error(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["render", file, "--contact", "c-1", "--traits", "{}", "--message", "hello"]) == 1
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "hello: expected an e-mail address in trait 'email', got none"
    assert [line.split(": ")[1] for line in said[1:]] == ["subject", "html"]
    assert all("'name'" in line for line in said[1:])


def test_a_message_that_is_not_there_is_refused_with_those_that_are(
    file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["render", file, "--contact", "c-1", "--traits", "{}", "--message", "welcome"]) == 2
    assert "expected a message of hello, crm, welcome/told, got 'welcome'" in capsys.readouterr().err


def test_traits_that_are_no_object_are_refused(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    for wrong in ("[1]", "{no json"):
        assert cli.run(["render", file, "--contact", "c-1", "--traits", wrong]) == 2
        assert "--traits: expected a JSON object" in capsys.readouterr().err
