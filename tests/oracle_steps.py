"""The steps of sequences and events of our own, as their oracle has them (`actions/SEQUENCES.md`)."""

import hashlib
import json
import re
from typing import Any

from actions import sequences as model
from tests.oracle import Run, cause_of
from tests.oracle_contact import Contact
from tests.oracle_input import Event, settled
from tests.oracle_led import Entry, Led, Told, clock_of, in_order, next_time, plainly, step_of, zone_of
from tests.oracle_values import instant, look_up, present

SETS_MAX = 16
ADDRESS = re.compile(r"[^@\s]+@[^@\s]+", re.ASCII)


class StepsRun(Run):
    """A run of the segments' oracle that keeps who is led, takes their steps and says so."""

    def __init__(self, definitions: dict[str, Any], grace_ms: int) -> None:
        super().__init__(definitions, grace_ms)
        self.led: dict[str, Led] = {}
        self.told: list[Told] = []

    def take_answers(self, contact: Contact, cause: str, absorbed: Contact | None = None) -> None:
        """Has the segments answer; their transitions are to be looked at."""
        before = len(self.emitted)
        super().answer(contact, cause, absorbed)
        self.led[contact.name].pending += in_order(self.plan, self.emitted[before:])

    # ---- steps ----

    def can_go_on(self, contact: Contact, entry: Entry) -> bool:
        """Whether the entry's next step can be taken now."""
        if entry not in self.led[contact.name].under_way:
            return False
        step, now = step_of(entry), clock_of(contact)
        if isinstance(step, model.WaitFor) and self.is_so(contact, entry, step):
            return True
        due = self.due(contact, entry)
        return due <= now if due is not None else not isinstance(step, model.WaitFor)

    def due(self, contact: Contact, entry: Entry) -> int | None:
        """When the entry's wait ends if nothing comes; None where it doesn't wait for a time."""
        step = step_of(entry)
        if isinstance(step, model.Wait):
            return entry.since + step.for_ms
        if isinstance(step, model.WaitTime):
            return next_time(step, zone_of(contact, entry, step.tz), clock_of(contact))
        if isinstance(step, model.WaitFor) and step.timeout_ms is not None:
            return entry.since + step.timeout_ms
        date = self.date(contact, entry)
        return date + step.offset_ms if isinstance(step, model.WaitDate) and date is not None else None

    def date(self, contact: Contact, entry: Entry) -> int | None:
        step = step_of(entry)
        if not isinstance(step, model.WaitDate):
            return None
        return instant(look_up(contact.traits, step.trait), zone_of(contact, entry, step.tz))

    def is_so(self, contact: Contact, entry: Entry, step: model.WaitFor) -> bool:
        return entry.released or self.is_in(contact, entry, step.on.segment) == (step.on.transition == "entered")

    def is_in(self, contact: Contact, entry: Entry, segment: str) -> bool:
        """Whether the contact is in the segment: of one with `per` for the entry's key, or else for any."""
        keys = [key for name, key in contact.memberships if name == segment]
        if segment == entry.sequence.on.segment:
            keys = [entry.key]
        return any(contact.membership(segment, key).inside for key in keys)

    def step(self, contact: Contact, entry: Entry) -> None:
        """Takes the entry's next step."""
        step = step_of(entry)
        if step is None:
            self.complete(contact, entry)
            return
        if isinstance(step, model.End):
            self.complete(contact, entry)
        elif isinstance(step, model.Split):
            self.split(contact, entry, step)
        elif isinstance(step, model.WaitDate) and self.date(contact, entry) is None:
            if step.otherwise is None:
                self.end(contact, entry, "no_date")
            else:
                self.go(contact, entry, step.otherwise)
        elif isinstance(step, model.Branch):
            self.go(contact, entry, step.then if self.is_in(contact, entry, step.segment) else step.otherwise)
        elif isinstance(step, model.WaitFor):
            self.go(contact, entry, step.then if self.is_so(contact, entry, step) else step.otherwise)
        elif isinstance(step, model.Send):
            self.send(contact, entry, step)
            self.go(contact, entry, step.then)
        elif isinstance(step, model.Set):
            self.set(contact, entry, step)
        else:
            self.go(contact, entry, step.then)

    def go(self, contact: Contact, entry: Entry, step: int) -> None:
        entry.step, entry.since, entry.released = step, clock_of(contact), False

    def split(self, contact: Contact, entry: Entry, step: model.Split) -> None:
        text = f"{step.salt}:{contact.name}".encode()
        drawn = int.from_bytes(hashlib.sha256(text).digest()[:8], "big")
        path = next(path for path in step.paths if drawn < path.below)
        entry.split[step.name] = path.name
        if path.then is None:
            self.end(contact, entry, "held_out")
        else:
            self.go(contact, entry, path.then)

    def send(self, contact: Contact, entry: Entry, step: model.Send) -> None:
        """A message, or why it is left out."""
        message, led = step.message, self.led[contact.name]
        target = message.target
        if message.target_trait is not None:
            found = look_up(contact.traits, message.target_trait)
            target = found if isinstance(found, str) and ADDRESS.fullmatch(found) else None
        code = None
        if step.while_ is not None and not self.is_in(contact, entry, step.while_):
            code = "while"
        elif led.arrived - clock_of(contact) > message.max_age_ms:
            code = "too_old"
        elif target is None:
            code = "no_target"
        if code is not None:
            self.tell(contact, "outcome", {"sequence": entry.sequence.id, "code": code})
            return
        traits = {path: value for path in message.traits if present(value := look_up(contact.traits, path))}
        body = {"sequence": entry.sequence.id, "version": entry.version, "step": step.name, "entry": entry.transition}
        body |= {"channel": message.channel, "target": target, "traits": plainly(traits)}
        self.tell(contact, "delivery", body)

    def set(self, contact: Contact, entry: Entry, step: model.Set) -> None:
        """An event of our own, which the contact takes; one too many at an instant ends the sequence."""
        sets, now = self.led[contact.name].set_at, clock_of(contact)
        if sets[now] >= SETS_MAX:
            self.end(contact, entry, "loop")
            return
        sets[now] += 1
        self.go(contact, entry, step.then)
        if step.list is not None:
            listed = {"list": step.list, "action": step.action}
            self.own(contact, "list", "list", listed, list_name=step.list, added=step.action == "added")
        else:
            self.own(contact, "identify", "identify", step.traits or {}, writes=step.traits or {})

    # ---- ends, and events of our own ----

    def leave(self, contact: Contact, entry: Entry) -> None:
        self.led[contact.name].under_way.remove(entry)

    def complete(self, contact: Contact, entry: Entry) -> None:
        self.leave(contact, entry)
        self.say(contact, entry, "Sequence Completed")

    def end(self, contact: Contact, entry: Entry, reason: str) -> None:
        self.leave(contact, entry)
        self.say(contact, entry, "Sequence Exited", reason=reason)

    def say(self, contact: Contact, entry: Entry, name: str, **more: str) -> None:
        said = {"sequence": entry.sequence.id, "version": entry.version, "entry": entry.transition, **more}
        said |= {"key": entry.key} if entry.key is not None else {}
        said |= {"split": entry.split} if entry.split else {}
        step = step_of(entry)
        said |= {"step": step.name} if step is not None and name != "Sequence Entered" else {}
        self.own(contact, "track", name, said, properties=said)

    def own(self, contact: Contact, kind: str, name: str, told: dict[str, Any], **fields: Any) -> None:
        """Tells of an event of our own at the contact's clock, and has the contact take it."""
        now = clock_of(contact)
        self.tell(contact, "event", {"name": name, "properties": plainly(told)})
        event = Event(
            kind=kind,
            contact=contact.name,
            linked=None,
            name=name if kind == "track" else None,
            properties=settled(fields.get("properties", {})),
            context={},
            writes=settled(fields.get("writes", {})),
            list_name=fields.get("list_name"),
            added=fields.get("added", False),
            message_id=None,
            timestamp=now,
            received=now,
        )
        self.lines += 1
        event.t, event.r, event.order = now, now, self.lines
        contact.add([event])
        self.take_answers(contact, cause_of(event))

    def tell(self, contact: Contact, kind: str, body: dict[str, Any]) -> None:
        self.told.append(Told(kind, clock_of(contact), contact.name, json.loads(json.dumps(body))))
