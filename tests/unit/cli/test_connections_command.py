"""`tidegate connections`: what is wrong with a file, what there is, and what a sample becomes."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from streams import cli
from streams.vendors.connection import TRACKING
from streams.vendors.contract import Request
from streams.vendors.registry import MODULES
from streams.vendors.typeform import VENDOR as TYPEFORM

CONNECTIONS: list[dict[str, Any]] = [
    {"id": "website", "vendor": "tracking", "secret": "WEBSITE"},
    {"id": "survey", "vendor": "typeform", "secret": ["SURVEY", "SURVEY_BEFORE"]},
    {"id": "contact-us", "vendor": "form", "secret": "FORM", "redirect": "https://shop.example/thanks"},
    {
        "id": "erp",
        "vendor": "generic",
        "secret": "ERP",
        "signature": {"header": "X-Sign"},
        "notification": {"name": "$.topic"},
        "names": {"user_id": "$.customer"},
        "events": {"stock.*": "ignore"},
    },
]
SECRETS = {
    "WEBSITE": "the-write-key",
    "SURVEY": "secret-one",
    "SURVEY_BEFORE": "secret-two",
    "FORM": "the-form-key",
    "ERP": "secret-erp",
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a file of connections, the one worked in, and all secrets in the environment."""
    (tmp_path / "connections.yaml").write_text(yaml.safe_dump({"connections": CONNECTIONS}))
    for name, secret in SECRETS.items():
        monkeypatch.setenv(f"TIDEGATE_SECRET_{name}", secret)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@dataclass
class Gateway:
    """What stands for one: it keeps what is sent, and answers as it is told."""

    url: str
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    answer: bytes = b"ok\n"
    asked: list[Request] = field(default_factory=list)


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    """One that listens."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            one.asked.append(Request("POST", one.url + self.path, headers, body, 0))
            self.send_response(one.status)
            for name, value in {**one.headers, "Content-Length": str(len(one.answer))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(one.answer)

        def log_message(self, *args: object) -> None:
            """Nothing on standard error."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    one = Gateway(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield one
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_sound_file_is_said_to_be(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With all secrets there; without a name it is the setting's file."""
    assert cli.run(["connections", "check"]) == 0
    assert cli.run(["connections", "check", "--strict", "connections.yaml"]) == 0
    assert capsys.readouterr() == ("4 connections: sound\n" * 2, "")


def test_missing_and_wrong_secrets_are_warnings_that_strict_counts(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is right, this environment isn't; what a secret is, is not said."""
    monkeypatch.delenv("TIDEGATE_SECRET_SURVEY_BEFORE")
    monkeypatch.setenv("TIDEGATE_SECRET_FORM", "hidden key")

    assert cli.run(["connections", "check"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "4 connections: sound\n"
    assert captured.err.splitlines() == [
        "warning: TIDEGATE_SECRET_SURVEY_BEFORE: expected a secret, got none - of connection 'survey'",
        "warning: TIDEGATE_SECRET_FORM: expected a key of 8 to 200 letters, digits, `.`, `_` and `-`, got something else - of "
        "connection 'contact-us'",
    ]
    assert cli.run(["connections", "check", "--strict"]) == 1


def test_all_errors_are_told_with_their_paths(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And status 2; a file that isn't there is one."""
    (here / "bad.yaml").write_text(
        "connections: [{id: a, vendor: stripe}, {id: b, vendor: form, secret: B, redirect: /x}]"
    )

    assert cli.run(["connections", "check", "bad.yaml"]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert [line.rpartition(" - at ")[2] for line in errors] == ["$.secret", "$.redirect"]
    assert cli.run(["connections", "check", "none.yaml"]) == 2


def test_list_says_where_each_takes_what_is_sent(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the names of its secrets, those that are missing marked."""
    monkeypatch.delenv("TIDEGATE_SECRET_SURVEY")

    assert cli.run(["connections", "list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows[0]["path"] == "/v1/…"
    assert rows[1] == {
        "connection": "survey",
        "vendor": "typeform",
        "path": "/v1/webhooks/typeform/survey",
        "secrets": "SURVEY?, SURVEY_BEFORE",
        "contact": "user_id, email, vendor_id",
    }
    assert cli.run(["connections", "list", "connections.yaml"]) == 0
    shown = capsys.readouterr().out
    assert "/v1/webhooks/form/contact-us" in shown
    assert not any(secret in shown for secret in SECRETS.values())


def test_a_sample_is_shown_as_the_events_that_it_becomes(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On lines of JSON, with nothing beside them."""
    assert cli.run(["connections", "test", "survey"]) == 0
    captured = capsys.readouterr()
    identified, told = map(json.loads, captured.out.splitlines())
    assert (identified["type"], told["event"], told["userId"]) == ("identify", "Form Submitted", "ada@example.com")
    assert captured.err == ""

    assert cli.run(["connections", "test", "website"]) == 0
    assert json.loads(capsys.readouterr().out)["event"] == "Sample Sent"


def test_a_payload_goes_in_place_of_the_sample(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is ignored and what is refused is said; status 1 where something is refused."""
    (here / "body.json").write_text('[{"topic": "order.paid", "customer": "c-1"}, {"topic": "stock.low"}]')
    assert cli.run(["connections", "test", "erp", "--payload", "body.json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["event"] == "erp order.paid"
    assert captured.err == "stock.low: ignored, as the connection says\n"

    (here / "body.json").write_text('{"topic": "order.paid"}')
    assert cli.run(["connections", "test", "erp", "--payload", "body.json"]) == 1
    assert capsys.readouterr().err.startswith("order.paid: refused: expected one of user_id, email, vendor_id in erp's")

    (here / "body.json").write_text("nonsense")
    for id in ("erp", "website"):
        assert cli.run(["connections", "test", id, "--payload", "body.json"]) == 2
        assert capsys.readouterr().err.startswith("refused: expected JSON in UTF-8")
    (here / "body.json").write_text('{"event": "No contact"}')
    assert cli.run(["connections", "test", "website", "--payload", "body.json"]) == 1
    (here / "body.json").write_text('{"big": "' + "x" * 1_000_000 + '"}')
    assert cli.run(["connections", "test", "erp", "--payload", "body.json"]) == 2


def test_without_its_secret_a_sample_is_mapped_and_that_is_said(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever writes the mapping needs no secrets; a gateway is not called with what it would refuse."""
    monkeypatch.delenv("TIDEGATE_SECRET_ERP")

    assert cli.run(["connections", "test", "erp"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["event"] == "erp sample-name"
    assert captured.err.splitlines() == [
        "warning: TIDEGATE_SECRET_ERP: expected a secret, got none - of connection 'erp'",
        "not signed: it has no secret to be signed with",
    ]
    assert cli.run(["connections", "test", "erp", "--url", "http://127.0.0.1:1"]) == 2


def test_what_a_gateway_answers_is_said(here: Path, gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    """It gets what the vendor would send, signed with the first secret."""
    assert cli.run(["connections", "test", "survey", "--url", gateway.url + "/"]) == 0
    assert capsys.readouterr().out == "200 ok\n"
    (asked,) = gateway.asked
    assert asked.url == gateway.url + "/v1/webhooks/typeform/survey"
    TYPEFORM.prove(asked, [SECRETS["SURVEY"]], 0)

    assert cli.run(["connections", "test", "website", "--url", gateway.url]) == 0
    assert gateway.asked[-1].url == gateway.url + "/v1/track"
    assert gateway.asked[-1].headers["authorization"] == "Basic dGhlLXdyaXRlLWtleTo="


def test_a_redirect_is_said_and_not_followed(here: Path, gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> None:
    """A form's answer is where the browser is to go."""
    gateway.status, gateway.headers, gateway.answer = 303, {"Location": "https://shop.example/thanks"}, b""

    assert cli.run(["connections", "test", "contact-us", "--url", gateway.url]) == 0
    assert capsys.readouterr().out == "303 → https://shop.example/thanks\n"
    assert b"_key=the-form-key" in gateway.asked[0].body


def test_what_was_not_taken_is_said_with_status_1(
    here: Path, gateway: Gateway, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where nobody answers, and where the URL is none."""
    gateway.status, gateway.answer = 401, b"expected another secret\n"
    assert cli.run(["connections", "test", "survey", "--url", gateway.url]) == 1
    assert capsys.readouterr().out == "401 expected another secret\n"

    assert cli.run(["connections", "test", "survey", "--url", "http://127.0.0.1:1"]) == 1
    assert capsys.readouterr().err.startswith("expected a gateway at http://127.0.0.1:1, got no answer: ")
    for url in ("127.0.0.1:6070", "ftp://127.0.0.1", "http://", "http://a:b"):
        assert cli.run(["connections", "test", "survey", "--url", url]) == 2


def test_a_connection_that_there_is_not_is_named_with_those_that_there_are(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And with the one that was probably meant."""
    assert cli.run(["connections", "test", "surve"]) == 2
    assert capsys.readouterr().err == (
        "expected the id of a connection, got 'surve' (did you mean 'survey'?): there are website, survey, contact-us, erp\n"
    )


@pytest.mark.parametrize("vendor", [*MODULES, TRACKING])
def test_a_sample_of_every_vendor_becomes_events(
    vendor: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mapped at least, where only the vendor can sign."""
    own = {"signature": {"header": "X-Sign"}, "names": {"email": "$.email"}} if vendor == "generic" else {}
    written = {"connections": [{"id": "one", "vendor": vendor, "secret": "ONE", **own}]}
    (tmp_path / "connections.yaml").write_text(yaml.safe_dump(written))
    monkeypatch.chdir(tmp_path)

    assert cli.run(["connections", "test", "one"]) == 0
    captured = capsys.readouterr()
    assert captured.out, captured.err
