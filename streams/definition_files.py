"""Files of segments, scores, rules, sequences and policies, read together and checked against what is in force.

What a segment, a rule or a sequence names may stand in another file or be in force; so what is checked is what would be
in force. All errors of all files are found at once, and nothing of them is taken where there is one.
"""

import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Sequence as List
from pathlib import Path
from typing import Any, TypeVar

from actions import (
    Asking,
    Policy,
    Rule,
    RuleErrors,
    Sequence,
    SequenceErrors,
    check_identify,
    check_loops,
    check_named,
    check_segments,
    in_sequence,
    lifted_bodies,
    load_policies,
    load_rules,
    load_sequences,
    rule_of,
    sequence_of,
)
from schemas.definitions import DefinitionRecord
from schemas.topics import is_ours
from segments import DefinitionErrors, Definitions, Limits, load_data
from segments.read import BYTES_MAX, read_text
from streams.errors import DefinitionsRefused, InputError
from streams.revisions import InForce, Kind, Name

# no character takes more than four bytes; a device would otherwise fill memory before its text is measured
FILE_BYTES_MAX = 4 * BYTES_MAX
_KINDS: tuple[tuple[str, Kind], ...] = (("segments", "segment"), ("scores", "score"))
_ACTIONS = ("rules", "sequences", "policies")
T = TypeVar("T", Rule, Sequence, Policy)
# an error about what has no id of its own is placed in the list of all files together, which no author has ever seen
_LISTED = re.compile(r"[^:]+: (.*) - at \$\.(segments|scores)\[(\d+)\](.*)", re.DOTALL)
_SUBJECT = re.compile(r"(segment|score|rule|sequence|policy) '([a-z0-9._-]+)': ")


@dataclasses.dataclass(frozen=True)
class File:
    """A file as it was found; `name` is what errors call it."""

    name: str
    text: str


@dataclasses.dataclass(frozen=True)
class Checked:
    """Definitions that can be put in force: `bodies` (of the files alone) by kind and id, the others with all.

    `definitions` has what `sequences` lift, too.
    """

    bodies: Mapping[Name, dict[str, Any]]
    definitions: Definitions
    sequences: tuple[Sequence, ...]


def open_files(paths: List[str]) -> list[File]:
    """The files at `paths`, `-` being standard input; raises `InputError`."""
    if again := next((path for n, path in enumerate(paths) if path in paths[:n]), None):
        raise InputError(f"{again}: expected each file once, got it again")
    files, errors = [], []
    for path in paths:
        try:
            with Path("/dev/stdin" if path == "-" else path).open("rb") as file:
                raw = file.read(FILE_BYTES_MAX + 1)
            if len(raw) > FILE_BYTES_MAX:
                errors.append(f"{path}: expected a file of at most {BYTES_MAX} characters, got more")
                continue
            text = raw.decode("utf-8-sig")
        except OSError as error:
            errors.append(f"{path}: expected a file of definitions: {error.strerror}")
        except UnicodeDecodeError as error:
            errors.append(f"{path}: expected text in UTF-8, got byte {error.start} that is none")
        else:
            files.append(File("standard input" if path == "-" else path, text))
    if errors:
        raise InputError(*errors)
    return files


def check_files(files: List[File], in_force: InForce, templates: Path, limits: Limits | None = None) -> Checked:
    """What the files would put in force beside `in_force`; raises `DefinitionsRefused` with all errors, a line each."""
    draft = _Draft(files, templates, limits)
    bodies = {key: draft.bodies(key, kind) for key, kind in _KINDS}
    there = {"segments": in_force.segments, "scores": in_force.scores}
    staying = [sequence_of(record.body) for record in in_force.sequences if record.id not in draft.sequences]
    sequences = (*draft.sequences.values(), *staying)
    asking = (*draft.asking, *sequences)
    definitions = draft.definitions({key: _others(there[key], bodies[key]) for key in there}, asking)
    segments = {record.id: record.body for record in in_force.segments} | bodies["segments"]
    draft.errors += check_segments(draft.rules.values(), segments)
    draft.errors += check_identify(draft.rules.values(), segments)
    draft.errors += check_named(sequences, segments)
    if draft.errors or definitions is None:
        raise DefinitionsRefused(*draft.lines())
    own = {segment.id: segment.body for segment in definitions.segments if segment.id in bodies["segments"]}
    draft.errors += _keys_kept(own, in_force)
    draft.errors += check_loops(sequences, definitions)
    if draft.errors:
        raise DefinitionsRefused(*draft.lines())
    named: dict[Name, dict[str, Any]] = {("segment", id): body for id, body in own.items()}
    named |= {("score", score.id): score.body for score in definitions.scores if score.id in bodies["scores"]}
    named |= {("rule", id): rule.body for id, rule in draft.rules.items()}
    named |= {("sequence", id): sequence.body for id, sequence in draft.sequences.items()}
    named |= {("policy", id): policy.body for id, policy in draft.policies.items()}
    return Checked(named, definitions, sequences)


def check_topics(bodies: Mapping[Name, dict[str, Any]], prefix: str) -> None:
    """Raises `DefinitionsRefused` where a message would be written to a topic of ours, whose names begin with `prefix`."""
    errors = [
        f"{kind} {id!r}: expected a topic of yours, got {topic!r}, which is one of ours by its prefix {prefix!r}"
        for (kind, id), body in bodies.items()
        if kind in ("rule", "sequence")
        for topic in _topics(body)
        if is_ours(topic, prefix)
    ]
    if errors:
        raise DefinitionsRefused(*errors)


def _topics(body: Any) -> Iterator[str]:
    """The topics that messages in a rule or a sequence go to, of whatever step."""
    if isinstance(body, list):
        for each in body:
            yield from _topics(each)
    elif isinstance(body, dict):
        if body.get("channel") == "kafka":
            yield body["target"]
        # what a step sets may look like anything
        yield from _topics([each for key, each in body.items() if key != "set"])


def find(in_force: InForce, ids: Iterable[str]) -> list[Name]:
    """What `ids` mean, each an id or `kind/id`; raises `InputError` for what isn't in force or is ambiguous."""
    names, lines = [], []
    for given in ids:
        kind, _, id = given.rpartition("/")
        found = [name for name in in_force.records if name[1] == id and kind in ("", name[0])]
        if len(found) == 1:
            names.append(found[0])
        elif found:
            either = " or ".join(f"{name[0]}/{id}" for name in found)
            lines.append(f"expected one definition, got {id!r}, which is several: say {either}")
        else:
            lines.append(f"expected the id of a definition in force, got {given!r}: `tidegate segments list` has them")
    if lines:
        raise InputError(*lines)
    return list(dict.fromkeys(names))


def check_removal(in_force: InForce, removed: List[Name], limits: Limits | None = None) -> None:
    """Raises `DefinitionsRefused`, naming what refers to it, where something that stays needs one of `removed`."""
    staying = [record for name, record in in_force.records.items() if name not in removed]
    bodies = {key: [record.body for record in staying if record.kind == kind] for key, kind in _KINDS}
    rules = [rule_of(record.body) for record in staying if record.kind == "rule"]
    sequences = [sequence_of(record.body) for record in staying if record.kind == "sequence"]
    errors: list[str] = []
    try:
        load_data({**bodies, "rules": []}, limits=limits, lifted=lifted_bodies(sequences))
    except DefinitionErrors as error:
        errors += [in_sequence(line, sequences) for line in error.errors]
    segments = {record.id: record.body for record in staying if record.kind == "segment"}
    errors += [*check_segments(rules, segments), *check_named(sequences, segments)]
    if errors:
        what = ", ".join(f"{kind} {id!r}" for kind, id in removed)
        raise DefinitionsRefused(
            f"without {what}, what stays would be broken; nothing was removed: remove or change that first, or with it",
            *errors,
        )


class _Draft:
    """Several files on their way to one set of definitions; what is wrong gathers in `errors`."""

    def __init__(self, files: List[File], templates: Path, limits: Limits | None) -> None:
        self._limits = limits
        self.errors: list[str] = []
        self.rules: dict[str, Rule] = {}
        self.sequences: dict[str, Sequence] = {}
        self.policies: dict[str, Policy] = {}
        self.asking: list[Asking] = []
        self._several = len(files) > 1
        self._origin: dict[tuple[str, str], str] = {}
        self._data: list[tuple[str, dict[str, Any]]] = []
        for file in files:
            try:
                data = read_text(file.text, file.name)
                if _well_formed(data):
                    self._data.append((file.name, data))
                else:
                    load_data(data, file.name, limits)
            except DefinitionErrors as error:
                self.errors += [self._in_file(file.name, line) for line in error.errors]
            else:
                self._take(file, "rule", self.rules, load_rules, templates)
                self._take(file, "sequence", self.sequences, load_sequences, templates)
                self._take(file, "policy", self.policies, _policies, templates)

    def _take(
        self,
        file: File,
        kind: Kind,
        taken: dict[str, T],
        load: Callable[[str, str, Path], tuple[T, ...]],
        templates: Path,
    ) -> None:
        """Adds to `taken` what `load` makes of a file."""
        try:
            loaded = load(file.text, file.name, templates)
        except RuleErrors as error:
            self.errors += [self._in_file(file.name, line) for line in error.errors]
            for each in error.asking if isinstance(error, SequenceErrors) else ():
                self._claim(kind, each.id, file.name)
                self.asking.append(each)
            return
        for item in loaded:
            self._claim(kind, item.id, file.name)
            taken[item.id] = item

    def bodies(self, key: str, kind: Kind) -> dict[str, Any]:
        """The bodies under `key` of all files by id; an id in two files is an error."""
        found: dict[str, Any] = {}
        for name, data in self._data:
            for body in data.get(key, []):
                self._claim(kind, body["id"], name)
                found[body["id"]] = body
        return found

    def definitions(self, others: Mapping[str, List[dict[str, Any]]], asking: List[Asking]) -> Definitions | None:
        """The segments and scores of the files and `others` together, and what those `asking` lift.

        None with something in `errors`.
        """
        data: dict[str, Any] = {}
        places: dict[str, list[tuple[str, int]]] = {}
        for key in others:
            placed = [(name, n, body) for name, data in self._data for n, body in enumerate(data.get(key, []))]
            places[key] = [place[:2] for place in placed]
            data[key] = [*(body for _, _, body in placed), *others[key]]
        rest = {key: value for _, file in self._data for key, value in file.items() if key not in others}
        name = self._data[0][0] if len(self._data) == 1 else "definitions"
        try:
            return load_data({**rest, **data, "rules": []}, name, self._limits, lifted=lifted_bodies(asking))
        except DefinitionErrors as error:
            self.errors += [in_sequence(_in_own_file(line, places), asking) for line in error.errors]
            return None

    def lines(self) -> list[str]:
        """The errors; with several files, those about a definition begin with its file."""
        return list(dict.fromkeys(map(self._line, self.errors)))

    def _line(self, error: str) -> str:
        subject = _SUBJECT.match(error) if self._several else None
        file = self._origin.get((subject[1], subject[2])) if subject else None
        return self._in_file(file, error) if file else error

    def _in_file(self, file: str, error: str) -> str:
        return f"{file}: {error}" if self._several and not error.startswith(f"{file}: ") else error

    def _claim(self, kind: Kind, id: str, file: str) -> None:
        other = self._origin.setdefault((kind, id), file)
        if other != file:
            self.errors.append(f"{kind} {id!r}: expected an id of its own, got it in {other} as well - at $.id")


def _policies(text: str, name: str, _: Path) -> tuple[Policy, ...]:
    return load_policies(text, name)


def _well_formed(data: Any) -> bool:
    """Whether each definition can be told by its id; if not, `load_data` on the file alone says what is wrong with it."""
    if not isinstance(data, dict) or not any(key in data for key in ("segments", "scores", *_ACTIONS)):
        return False
    lists = [data[key] for key, _ in _KINDS if key in data]
    optional = any(key in data for key in _ACTIONS)
    return all(isinstance(listed, list) and (listed or optional) for listed in lists) and all(
        isinstance(body, dict) and isinstance(body.get("id"), str) and body["id"] for listed in lists for body in listed
    )


def _in_own_file(error: str, places: Mapping[str, List[tuple[str, int]]]) -> str:
    """The error with file and index as the author has them; `places` has both for each definition of all files."""
    found = _LISTED.fullmatch(error)
    if found is None or int(found[3]) >= len(places[found[2]]):
        return error
    file, index = places[found[2]][int(found[3])]
    return f"{file}: {found[1]} - at $.{found[2]}[{index}]{found[4]}"


def _others(records: Iterable[DefinitionRecord], own: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [record.body for record in records if record.id not in own]


def _keys_kept(bodies: Mapping[str, dict[str, Any]], in_force: InForce) -> list[str]:
    """Errors of segments whose `per` is another one than in force (language page, section 9)."""
    there = {record.id: record.body.get("per") for record in in_force.segments}
    return [
        f"segment {id!r}: expected `per` as in force, {there[id]!r}, got {body.get('per')!r}: "
        "give the segment another id - at $.per"
        for id, body in bodies.items()
        if id in there and body.get("per") != there[id]
    ]
