"""The steps of a sequence as they are written, to a flat list in which each knows the next."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from actions.message_reading import Message, check_link, read_group, read_message
from actions.reader import ID, Reader
from actions.rules import Rule
from actions.sequence_conditions import Conditions
from actions.sequence_drafts import Draft, ends, link
from actions.sequence_waits import read_duration, read_wait
from actions.sequences import END, Branch, End, On, Path, Send, Set, Split, Step, WaitDate, WaitFor
from actions.templates import quotes_event
from schemas.events import parse_event
from schemas.rejected import Rejection
from schemas.transitions import Cause

STEPS_MAX: Final = 64
LEVELS_MAX: Final = 8
PATHS_MAX: Final = 100
_WHOLE: Final = 2**64


@dataclass(frozen=True)
class Given:
    """What the steps have of their sequence; `while_`: the segment that each message asks for, None: any."""

    id: str
    on: On
    causes: frozenset[Cause]
    while_: str | None
    max_age_ms: int
    group: str | None
    tz: str


class StepsReader:
    """Reads the steps of one sequence; `event_asked` afterwards: whether a message quotes the event behind the transition."""

    def __init__(self, reader: Reader, conditions: Conditions, given: Given) -> None:
        self.event_asked = False
        self._reader, self._conditions, self._given = reader, conditions, given
        self._seen = 0
        self._names: set[str] = set()

    def read(self, written: Any) -> tuple[tuple[Step, ...], int]:
        """The steps and which of them is the first; of use only where there was no error."""
        drafts = self._list(written, ".steps", 1)
        if self._reader.errors:
            return (), END
        linked: dict[int, Step] = {}
        begin = link(drafts, END, linked)
        return tuple(linked[number] for number in range(self._seen)), begin

    def _list(self, written: Any, path: str, level: int) -> list[Draft]:
        if not isinstance(written, list):
            self._reader.error("a list of steps", written, path)
            return []
        if level > LEVELS_MAX:
            self._reader.say(f"expected at most {LEVELS_MAX} levels of steps, got more", path)
            return []
        drafts: list[Draft] = []
        for at, item in enumerate(written):
            if self._seen == STEPS_MAX:
                self._reader.say(f"expected at most {STEPS_MAX} steps in a sequence, got more", f"{path}[{at}]")
            self._seen += 1
            if self._seen > STEPS_MAX:
                break
            if drafts and drafts[-1].ends:
                self._reader.say("expected a step that is ever reached, got one after the end", f"{path}[{at}]")
            draft = self._step(item, self._seen - 1, f"{path}[{at}]", level)
            drafts += [] if draft is None else [draft]
        return drafts

    def _step(self, item: Any, number: int, path: str, level: int) -> Draft | None:
        reader = self._reader
        if item == "end":
            item = {"end": True}
        if not isinstance(item, dict):
            reader.error(f"`end`, or a mapping with one of {' '.join(_KINDS)}", item, path)
            return None
        kinds = [key for key in item if key in _KINDS]
        reader.keys(item, (*_KINDS, "name"), path)
        if len(kinds) != 1:
            if kinds or not any(key not in (*_KINDS, "name") for key in item):
                got = " and ".join(map(repr, kinds)) or "none"
                reader.say(f"expected one of {' '.join(_KINDS)} in a step, got {got}", path)
            return None
        (kind,) = kinds
        inner = f"{path}.{kind}"
        if kind == "split" and "name" in item:
            reader.say("expected the name of a split in it, got one beside it", f"{path}.name")
        holder, place = (item[kind], inner) if kind == "split" and isinstance(item[kind], dict) else (item, path)
        name = self._name(holder.get("name", f"{kind}-{number}"), f"{place}.name" if "name" in holder else place)
        return _KINDS[kind](self, item[kind], name, number, inner, level)

    def _name(self, name: Any, path: str) -> str:
        if not isinstance(name, str) or not ID.fullmatch(name):
            self._reader.error("a name of small letters, digits, `.`, `_` and `-`, 64 at most", name, path)
            return ""
        if name in self._names:
            self._reader.say(f"expected a name of its own, got {name!r} twice", path)
        self._names.add(name)
        return name

    def _send(self, body: Any, name: str, number: int, path: str, level: int) -> Draft | None:
        reader, given = self._reader, self._given
        if not reader.is_mapping(body, path):
            return None
        message = read_message(reader, body, path, ("group", "transactional", "max_age"))
        if isinstance(body.get("template"), str) and message.parts is not None:
            body["template"] = message.parts
        transactional = reader.boolean(body, "transactional", path)
        group = read_group(reader, body, path) or given.group
        check_link(reader, message, group, path)
        if message.identify:
            # it would say what was true when the sequence began
            reader.say("expected `identify` in a rule, got it in a sequence", f"{path}.identify")
        max_age_ms = given.max_age_ms
        if "max_age" in body:
            max_age_ms = reader.duration(body["max_age"], f"{path}.max_age")
        self.event_asked |= _quotes_event(message)
        rule = Rule(
            id=given.id,
            segment=given.on.segment,
            transition=given.on.transition,
            causes=given.causes,
            channel=message.channel,
            target=message.target,
            target_trait=message.target_trait,
            traits=message.traits,
            max_age_ms=max_age_ms,
            secret=message.secret,
            template=message.template,
            body=body,
            sender=message.sender,
            group=group,
            step=name,
            event=message.event,
        )
        return Draft(number, Send(name, END, rule, given.while_, group, transactional))

    def _wait(self, found: Any, name: str, number: int, path: str, level: int) -> Draft | None:
        step = read_wait(self._reader, found, name, path, self._given.tz)
        if step is None:
            return None
        if isinstance(step, WaitDate):
            otherwise = self._list(found["else"], f"{path}.else", level + 1) if "else" in found else None
            return Draft(number, step, lists=(otherwise,))
        return Draft(number, step)

    def _wait_for(self, found: Any, name: str, number: int, path: str, level: int) -> Draft | None:
        reader = self._reader
        if not reader.is_mapping(found, path):
            return None
        reader.keys(found, ("segment", "when", "transition", "timeout", "then", "else"), path)
        on = On(self._conditions.named(found, path), reader.direction(found, "entered", path))
        timeout_ms = read_duration(reader, found["timeout"], f"{path}.timeout") if "timeout" in found else None
        if timeout_ms is None and "else" in found:
            reader.say("expected `timeout` beside `else`, got none", path)
        then, otherwise = self._lists(found, path, level)
        ended = ends(then) and (timeout_ms is None or ends(otherwise))
        return Draft(number, WaitFor(name, END, on, timeout_ms, END), ended, (then, otherwise))

    def _branch(self, found: Any, name: str, number: int, path: str, level: int) -> Draft | None:
        reader = self._reader
        if not reader.is_mapping(found, path):
            return None
        reader.keys(found, ("if", "then", "else"), path)
        if "then" not in found and "else" not in found:
            reader.say("expected `then`, `else` or both, got none", path)
        segment = self._conditions.segment(found.get("if"), f"{path}.if")
        then, otherwise = self._lists(found, path, level)
        return Draft(number, Branch(name, END, segment, END), ends(then) and ends(otherwise), (then, otherwise))

    def _lists(self, found: dict[str, Any], path: str, level: int) -> tuple[list[Draft], list[Draft]]:
        """What stands under `then` and `else`, which may both be left out."""
        then = self._list(found["then"], f"{path}.then", level + 1) if "then" in found else []
        return then, self._list(found["else"], f"{path}.else", level + 1) if "else" in found else []

    def _split(self, found: Any, name: str, number: int, path: str, level: int) -> Draft | None:
        reader = self._reader
        if not reader.is_mapping(found, path):
            return None
        reader.keys(found, ("name", "paths", "salt"), path)
        salt = found.get("salt", f"{self._given.id}.{found.get('name', number)}")
        if not isinstance(salt, str) or not salt:
            reader.error("text", salt, f"{path}.salt")
        written = found.get("paths")
        if not isinstance(written, list) or not 0 < len(written) <= PATHS_MAX:
            reader.error(f"a list of paths, {PATHS_MAX} at most", written, f"{path}.paths")
            return None
        before = len(reader.errors)
        names, shares, lists = [], [], []
        for at, body in enumerate(written):
            read = self._path(body, f"{path}.paths[{at}]", level)
            if read is not None:
                names.append(read[0])
                shares.append(read[1])
                lists.append(read[2])
        for at, path_name in enumerate(names):
            if path_name and path_name in names[:at]:
                reader.say(f"expected a name of its own, got {path_name!r} twice", f"{path}.paths[{at}].name")
        if len(reader.errors) == before and sum(shares) != 100:
            reader.say(f"expected percents that are 100 in all, got {float(sum(shares)):.15g}", f"{path}.paths")
        bounds = [int(sum(shares[: at + 1]) * _WHOLE / 100) for at in range(len(shares))]
        paths = tuple(Path(name, below, END) for name, below in zip(names, bounds, strict=True))
        ended = all(inner is None or ends(inner) for inner in lists)
        return Draft(number, Split(name, str(salt), paths), ended, tuple(lists))

    def _path(self, body: Any, path: str, level: int) -> tuple[str, Fraction, list[Draft] | None] | None:
        """Name, percent and steps of a path, None for those of one that is held out."""
        reader = self._reader
        if not reader.is_mapping(body, path):
            return None
        reader.keys(body, ("name", "percent", "steps", "holdout"), path)
        name, percent = body.get("name"), body.get("percent")
        if not isinstance(name, str) or not ID.fullmatch(name):
            reader.error("a name of small letters, digits, `.`, `_` and `-`, 64 at most", name, f"{path}.name")
            name = ""
        if isinstance(percent, bool) or not isinstance(percent, int | float) or not 0 <= percent <= 100:
            reader.error("a number from 0 to 100", percent, f"{path}.percent")
            percent = 0
        held_out = reader.boolean(body, "holdout", path)
        if held_out and "steps" in body:
            reader.say("expected no `steps` beside `holdout`, got some", path)
        steps = None if held_out else self._list(body.get("steps", []), f"{path}.steps", level + 1)
        # what was written: the nearest double of 33.3 is another number
        return name, Fraction(repr(percent)), steps

    def _set(self, found: Any, name: str, number: int, path: str, level: int) -> Draft | None:
        reader = self._reader
        if not reader.is_mapping(found, path):
            return None
        if "traits" in found:
            reader.keys(found, ("traits",), path)
            traits = found["traits"]
            if not isinstance(traits, dict) or not traits:
                reader.error("a mapping of traits", traits, f"{path}.traits")
                return None
            self._check_event({"type": "identify", "userId": "c", "traits": traits}, f"{path}.traits")
            return Draft(number, Set(name, END, traits, None, None))
        reader.keys(found, ("list", "action", "traits"), path)
        if "list" not in found:
            reader.say("expected `traits`, or `list` and `action`, got none", path)
            return None
        listed = found["list"]
        if not isinstance(listed, str) or not listed:
            reader.error("the id of a list", listed, f"{path}.list")
        action = reader.choice(found, "action", ("added", "removed"), path)
        return Draft(number, Set(name, END, None, str(listed), action))

    def _check_event(self, event: dict[str, Any], path: str) -> None:
        """Adds an error where a contact could not take what a `set` says."""
        try:
            parse_event(json.dumps(event, allow_nan=False).encode())
        except Rejection as rejection:
            self._reader.say(rejection.sentence, path)
        except ValueError:
            self._reader.say("expected numbers that a double can hold, got another", path)

    def _end(self, found: Any, name: str, number: int, path: str, level: int) -> Draft:
        if found is not True:
            self._reader.error("true", found, path)
        return Draft(number, End(name), ends=True)


_KINDS: Mapping[str, Callable[[StepsReader, Any, str, int, str, int], Draft | None]] = {
    "send": StepsReader._send,
    "wait": StepsReader._wait,
    "wait_for": StepsReader._wait_for,
    "branch": StepsReader._branch,
    "split": StepsReader._split,
    "set": StepsReader._set,
    "end": StepsReader._end,
}


def _quotes_event(message: Message) -> bool:
    """Whether a message says, or may say, what the event was: without a template it carries all of the transition."""
    if message.template is None:
        return True
    parts = (message.template.subject, message.template.text, message.template.html or "")
    return any(map(quotes_event, parts))
