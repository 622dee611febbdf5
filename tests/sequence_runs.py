"""Sequences through the oracle and through the core, and what they said in one form."""

from collections.abc import Iterable, Sequence
from itertools import cycle
from typing import Any, NamedTuple

import segments
from actions import machine, simulated
from actions.sequence_reading import sequence_of
from schemas.deliveries import Delivery, Outcome
from segments.simulate import Run
from tests import oracle_sequences
from tests.oracle_sequences import InForce, SequencesRun

WEBHOOK = {"channel": "webhook", "target": "https://shop.example/hook", "secret": "SHOP"}


class Said(NamedTuple):
    """What a sequence said of a contact; `what` is `send STEP`, `skipped CODE`, `set` or the name of an event."""

    contact: str
    at_ms: int
    sequence: str
    what: str
    body: dict[str, Any]


def in_force(written: dict[str, Any], version: int = 1, since_ms: int = simulated.BEFORE_MS) -> InForce:
    """The sequence as read; in its steps `send: NAME` is a message of that name by a webhook."""
    return InForce(sequence_of({**written, "steps": spelled(written["steps"])}), version, since_ms)


def spelled(part: Any) -> Any:
    """Steps with each `send: NAME` written out."""
    if isinstance(part, list):
        return [spelled(one) for one in part]
    if not isinstance(part, dict):
        return part
    if isinstance(part.get("send"), str):
        return {**part, "send": WEBHOOK, "name": part["send"]}
    return {key: spelled(one) for key, one in part.items()}


def by_oracle(
    defined: dict[str, Any],
    sequences: list[InForce],
    lines: Iterable[bytes],
    until_ms: int,
    grace_ms: int = 2000,
    run_class: type[SequencesRun] = SequencesRun,
) -> tuple[list[Said], list[dict[str, Any]]]:
    """What the sequences said, and the transitions."""
    told, transitions, _ = oracle_sequences.simulate(defined, sequences, lines, until_ms, grace_ms, run_class)
    said = []
    for one in told:
        body = dict(one.body)
        if one.kind == "delivery":
            what = f"send {body.pop('step')}"
        elif one.kind == "outcome":
            what = f"skipped {body.pop('code')}"
        else:
            what = body["name"] if body["name"].startswith("Sequence ") else "set"
            body = body["properties"]
        said.append(Said(one.contact, one.at_ms, body.pop("sequence", ""), what, body))
    return said, transitions


def by_core(
    defined: dict[str, Any],
    sequences: list[InForce],
    lines: Iterable[bytes],
    until_ms: int,
    grace_ms: int = 2000,
    written: Sequence[bool] = (False,),
) -> tuple[list[Said], list[dict[str, Any]]]:
    """The same, by the core; `written`, over and over: whether all states are written and read before the next line."""
    lifted = {id: body for one in sequences for id, body in one.sequence.lifted.items()}
    definitions = segments.load_data(defined, lifted=list(lifted.values()))
    follower = machine.Machine([machine.InForce(*one) for one in sequences], {}, prompt_ms=grace_ms)
    run = Run(definitions, segments.Limits(grace_ms=grace_ms), follower=follower)
    out: list[Any] = []
    for line, again in zip(lines, cycle(written), strict=False):
        if again:
            states = run.states.items()
            run.states = {contact: run.program.decode(contact, run.program.encode(state)) for contact, state in states}
        out += run.take(line)
    out += run.end(until_ms)
    steps = {one.sequence.id: one.sequence.steps for one in sequences}
    transitions = [one.simulated() for one in out if isinstance(one, segments.Transition)]
    told = [simulated.told_of(one) for one in out if not isinstance(one, segments.Transition)]
    return [said_of(one, steps) for one in told], transitions


def said_of(told: simulated.Told, steps: dict[str, Any]) -> Said:
    body = told.body
    if isinstance(body, Delivery):
        parts = {"version": body.rule_version, "entry": body.transition.id, "channel": body.channel}
        parts |= {"target": body.target, "traits": body.traits}
        return Said(told.contact, told.at_ms, body.rule, f"send {steps[body.rule][body.step].name}", parts)
    if isinstance(body, Outcome):
        return Said(told.contact, told.at_ms, body.rule, f"skipped {body.code}", {})
    if body["type"] == "track":
        properties = dict(body["properties"])
        return Said(told.contact, told.at_ms, properties.pop("sequence"), body["event"], properties)
    listed = {"list": body.get("list"), "action": body.get("action")}
    return Said(told.contact, told.at_ms, "", "set", listed if body["type"] == "list" else body["traits"])
