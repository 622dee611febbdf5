"""What deploy/SOURCES.md says of connections, vendors and answers is what the code has."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from streams.cli import COMMANDS
from streams.gateway.bodies import BODY_S_MAX
from streams.gateway.metrics import GatewayMetrics
from streams.gateway.notified import BYTES_MAX
from streams.gateway.serving import CONNECTIONS_MAX as OPEN_CONNECTIONS_MAX
from streams.gateway.tracking import BATCH_BYTES_MAX, BATCH_EVENTS_MAX, EVENT_BYTES_MAX
from streams.gateway.tracking_description import _MEANING
from streams.gateway.tracking_web import CROWDED_RETRY_S, UNAVAILABLE_RETRY_S
from streams.gateway.webhooks_web import _RESPONSES
from streams.settings import SECRET_PREFIX, SETTINGS
from streams.vendors import contract, own_reading
from streams.vendors.connection import NAME_KINDS, TRACKING, Connection
from streams.vendors.connection_reading import (
    _KEYS,
    _OVERRIDE_KEYS,
    _OWN_KEYS,
    CONNECTIONS_MAX,
    OVERRIDES_MAX,
    PATH_CHARACTERS_MAX,
    SECRETS_MAX,
    load_connections,
)
from streams.vendors.engagement import NAMES
from streams.vendors.form import NAME_CHARACTERS_MAX, VALUE_CHARACTERS_MAX
from streams.vendors.form_fields import FIELDS_MAX
from streams.vendors.registry import MODULES, vendor_for
from streams.vendors.values import OBJECTS_MAX
from tests.unit.vendors.payloads import document, request

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "deploy" / "SOURCES.md").read_text("utf-8")
EXAMPLES = re.findall(r"^```yaml\n(connections:\n.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
HEADINGS = re.findall(r"^#+ (.+)$", PAGE, re.MULTILINE)
# of vendors with a mapping of their own, by the name in the heading
MAPPED = {found[1]: heading for heading in HEADINGS if (found := re.search(r"\(`(\w+)`\)$", heading))}
# as ours are written, unlike properties and vendors' names
EVENT = re.compile(r"`([A-Z][a-z]+(?: [A-Za-z]+)+)`")
PUBLISHED = {
    "stripe": ("billing/stripe_captured.json", "billing/stripe_events.json"),
    "chargebee": ("billing/chargebee_events.json", "billing/chargebee_sample.json"),
    "recurly": ("billing/recurly_xml.json",),
    "paddle": ("billing/paddlebilling_captured.json",),
    "typeform": ("forms/typeform.json",),
    "hubspot": ("crm/hubspot_captured.json",),
    "pipedrive": ("crm/pipedrive_captured.json",),
}


def section(heading: str) -> str:
    """The text below a heading, to the next one."""
    return re.split(r"^#+ ", PAGE.partition(f"# {heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def rows(text: str) -> list[list[str]]:
    """The cells of the tables in a text, row by row, without what begins tables."""
    lines = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line] for line in lines]
    begins = {at + n for at, line in enumerate(cells) if set("".join(line)) <= {"-"} for n in (-1, 0)}
    return [line for at, line in enumerate(cells) if at not in begins]


def named(cell: str) -> list[str]:
    """What stands in code marks."""
    return re.findall(r"`([^`]+)`", cell)


def becomes(vendor: str) -> dict[str, str]:
    """What the page says of each event of a vendor's; where both cells of a row have ` · `, part by part."""
    told: dict[str, str] = {}
    for theirs, ours in rows(section(MAPPED[vendor])):
        parts = theirs.split(" · ")
        told |= {
            name: text
            for part, text in zip(parts, ours.split(" · ") if len(parts) > 1 else [ours], strict=True)
            for name in named(part)
        }
    return told


def module(vendor: str) -> Any:
    """Where a vendor's mapping is."""
    return importlib.import_module(f"streams.vendors.{MODULES[vendor]}")


def texts_of(vendor: str) -> set[str]:
    """All that stands in quotes in a vendor's module."""
    tree = ast.parse(Path(module(vendor).__file__).read_text("utf-8"))
    return {each.value for each in ast.walk(tree) if isinstance(each, ast.Constant) and isinstance(each.value, str)}


def published(vendor: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The name of each notification that a vendor has published, and the events that it becomes; none: the vendor's name."""
    mapping = vendor_for(Connection("one", vendor, ("ONE",)))
    for path in PUBLISHED.get(vendor, ()):
        cases = document(path)["cases"]
        for case in cases.values() if isinstance(cases, dict) else cases:
            body = case.encode() if isinstance(case, str) else case.get("body", case.get("payload", case))
            for notification in mapping.read(request(body)):
                yield notification.name, tuple(said.name for said in mapping.mean(notification).said)


# ---- connections ----


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_connections_that_it_shows_are_read(example: str) -> None:
    assert load_connections(example)


def test_every_key_of_a_connection_is_in_its_table_and_no_other() -> None:
    listed = [key for keys, *_ in rows(section("Keys")) for key in named(keys)]

    assert sorted(listed) == sorted({*_KEYS, *(key for keys in _OWN_KEYS.values() for key in keys)})


def test_every_key_within_a_key_is_in_an_example() -> None:
    """What an example has, somebody will find."""
    shown = [one for example in EXAMPLES for one in yaml.safe_load(example)["connections"]]
    generic = next(one for one in shown if one["vendor"] == "generic")
    form = next(one for one in shown if one["vendor"] == "form")
    overrides = [each for one in shown for each in one.get("events", {}).values()]

    assert set(generic) >= set(_OWN_KEYS["generic"]) - set(_KEYS)
    assert set(form) >= set(_OWN_KEYS["form"]) - set(_KEYS)
    assert set(generic["signature"]) == set(own_reading.SIGNATURE_KEYS)
    assert set(generic["notification"]) == set(own_reading.NOTIFICATION_KEYS)
    assert set(generic["names"]) == set(NAME_KINDS)
    assert {key for each in overrides if each != "ignore" for key in each} == set(_OVERRIDE_KEYS)
    assert "ignore" in overrides
    for word in (*own_reading.ALGORITHMS, *own_reading.ENCODINGS, *own_reading.UNITS, "basic", "standard-webhooks"):
        assert re.search(rf"\b{word}\b", section(MAPPED["generic"])), word


# ---- vendors ----


def test_every_vendor_is_in_the_table_and_no_other() -> None:
    listed = [named(first)[0] for first, *_ in rows(section("Vendors"))]

    assert sorted(listed) == sorted([TRACKING, *MODULES])


def test_what_becomes_of_each_vendors_events_is_said_somewhere() -> None:
    mail = {name for name in MODULES if hasattr(module(name), "KINDS")}

    assert set(mail_table()) == mail
    assert set(MAPPED) == set(MODULES) - mail


@pytest.mark.parametrize("vendor", PUBLISHED)
def test_what_a_vendor_has_published_becomes_what_the_page_says(vendor: str) -> None:
    """One that becomes an event of ours and isn't on the page is missing there."""
    told, seen = becomes(vendor), dict.fromkeys(published(vendor))

    assert seen
    for name, events in seen:
        if events:
            assert name in told, f"{name}: {events}"
            assert set(events) <= set(EVENT.findall(told[name])), name
        elif name in told:
            assert "'s name" in told[name], name


@pytest.mark.parametrize("vendor", [name for name in MAPPED if name not in ("generic", "segment")])
def test_names_of_events_are_those_that_the_mapping_has(vendor: str) -> None:
    """As they stand there, or put together of two that do; a vendor's also as it has published them."""
    texts, told = texts_of(vendor), becomes(vendor)
    seen = {name for name, _ in published(vendor)}

    assert told
    for theirs, ours in told.items():
        begins = [text for text in texts if text and theirs.startswith(text)]
        ends = [text for text in texts if text and theirs.endswith(text)]
        assert any(len(one) + len(other) >= len(theirs) - 1 for one in begins for other in ends) or theirs in seen, (
            theirs
        )
        for event in EVENT.findall(ours):
            first, _, last = event.partition(" ")
            assert event in texts or {first, last} <= texts, f"{theirs}: {event}"


# ---- mail ----


def mail_table() -> dict[str, dict[str, list[str]]]:
    """By service and event of ours, the names that the service has for it."""
    text = section("E-mail")
    head = next(line for line in text.splitlines() if line.startswith("| becomes"))
    services = named(head)
    found: dict[str, dict[str, list[str]]] = {service: {} for service in services}
    for ours, *cells in rows(text):
        for service, cell in zip(services, cells, strict=True):
            found[service][named(ours)[0]] = named(cell)
    return found


@pytest.mark.parametrize("service", mail_table())
def test_what_becomes_of_a_mail_services_events_is_what_its_module_says(service: str) -> None:
    """Others may stand in a cell as well: what becomes of them depends on what they say."""
    told, kinds = mail_table()[service], module(service).KINDS

    assert set(told) == set(NAMES.values())
    for name, kind in kinds.items():
        assert name in told[NAMES[kind]], name
    assert {name for names in told.values() for name in names} <= texts_of(service)


# ---- answers, figures, names ----


def test_every_answer_is_in_its_table() -> None:
    def statuses(heading: str) -> set[int]:
        return {int(each) for first, *_ in rows(section(heading)) for each in re.findall(r"\b\d{3}\b", first)}

    assert statuses("The tracking API") == set(_MEANING) | {500}
    assert statuses("Webhooks") == {int(each) for each in _RESPONSES} | {405}


def test_figures_are_those_of_the_code() -> None:
    tracking, keys = section("The tracking API"), section("Keys")
    lines = " ".join(tracking.split())
    assert (
        f"at most {EVENT_BYTES_MAX >> 10} KiB, a batch {BATCH_BYTES_MAX >> 10} KiB and {BATCH_EVENTS_MAX:,} events"
        in lines
    )
    assert f"didn't come within {BODY_S_MAX:g} s" in tracking
    assert f"`Retry-After` ({CROWDED_RETRY_S} s)" in tracking
    assert f"`Retry-After` ({UNAVAILABLE_RETRY_S} s)" in tracking
    assert f"more than {contract.BODY_BYTES_MAX:,} bytes, unpacked ({contract.BATCH_BYTES_MAX:,} of " in section(
        "Webhooks"
    )
    assert f"More than {OBJECTS_MAX:,} notifications, or {BYTES_MAX >> 20} MiB of events" in section("Webhooks")
    assert f"at most {CONNECTIONS_MAX:,}." in section("Connections")
    assert f"{SECRETS_MAX} at most" in keys
    assert f"none; {PATH_CHARACTERS_MAX} characters each" in keys
    assert f"| none; {OVERRIDES_MAX} |" in keys
    form = " ".join(section(MAPPED["form"]).split())
    assert f"At most {FIELDS_MAX} fields, names of {NAME_CHARACTERS_MAX} and values of {VALUE_CHARACTERS_MAX:,}" in form
    assert f"**Bounds**: {OPEN_CONNECTIONS_MAX:,} connections" in section("Running it")


def test_settings_commands_and_metrics_that_it_names_exist() -> None:
    variables = set(re.findall(r"TIDEGATE_[A-Z_]+", PAGE))
    metrics = {metric.name for metric in GatewayMetrics().registry.collect()}
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) + re.findall(r"`(tidegate [^`]+)`", PAGE))

    assert {each for each in variables if not each.startswith(SECRET_PREFIX)} <= {each.variable for each in SETTINGS}
    assert {each.removesuffix("_total") for each in re.findall(r"tidegate_gateway_\w+", PAGE)} <= metrics
    assert {"connections", "gateway"} <= set(re.findall(r"\btidegate ([a-z]+)", blocks)) <= set(COMMANDS)


def test_links_lead_somewhere() -> None:
    targets = re.findall(r"\]\((?!https?:)([^)]+)\)", PAGE)

    assert targets
    for target in targets:
        path, _, anchor = target.partition("#")
        there = (ROOT / "deploy" / path).read_text("utf-8") if path else PAGE
        titles = re.findall(r"^#+ (.+)$", there, re.MULTILINE)
        assert not anchor or anchor in {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}, (
            target
        )
