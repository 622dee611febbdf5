"""The answers of one contact, or of one value of a `per` property, and what they are answered from, by key.

A key stands for a leaf, a `held` condition, a segment that others name, or the end of a hold. Most leaves that an event
touches keep something and have nothing to say yet, so what is kept and what is answered stand apart: an answer that is
false and that time alone won't change takes no place.
"""

from typing import Any, Final

# stands for the instant of what never falls due; so far off that no instant of ours is beyond it
_NEVER: Final = 1 << 60
_TRUE_FOR_EVER: Final = _NEVER * 2 + 1


class Unit:
    """`kept` by key; of each key with an answer or a due instant `live[key]`, which is `due_ms * 2 + answer`.

    `due_ms` is the earliest due instant once `find_due` has been called after a change, else it or an earlier one.
    `answers` as the module `state` has them.
    """

    __slots__ = ("answers", "due_ms", "due_stale", "kept", "live")

    def __init__(self) -> None:
        self.kept: dict[int, Any] = {}
        self.live: dict[int, int] = {}
        self.answers: dict[int, int] = {}
        self.due_ms: int | None = None
        self.due_stale = False

    def __contains__(self, key: int) -> bool:
        """Whether the answer is true."""
        return self.live.get(key, 0) & 1 == 1

    def due_of(self, key: int) -> int | None:
        """When time alone may change the answer, None for never."""
        due_ms = self.live.get(key, _TRUE_FOR_EVER) >> 1
        return None if due_ms == _NEVER else due_ms

    def keep(self, key: int, kept: Any) -> None:
        """Keep that for a leaf, None for nothing; its answer is to be asked."""
        if kept is None:
            self.kept.pop(key, None)
        else:
            self.kept[key] = kept

    def note(self, key: int, answer: bool, due_ms: int | None) -> bool:
        """Write an answer and the instant at which time may change it; whether the answer flipped."""
        live = self.live
        before = live.get(key)
        if due_ms is not None and due_ms < _NEVER:
            after = due_ms * 2 + answer
            if before == after:
                return False
            live[key] = after
            if self.due_ms is None or due_ms <= self.due_ms:
                self.due_ms = due_ms
            elif before is not None and before >> 1 == self.due_ms:
                self.due_stale = True
        elif before is None:
            if answer:
                live[key] = _TRUE_FOR_EVER
            return answer
        else:
            if answer:
                live[key] = _TRUE_FOR_EVER
            else:
                del live[key]
            if before >> 1 == self.due_ms:
                self.due_stale = True
        return answer is not (before is not None and before & 1 == 1)

    def set_due(self, key: int, due_ms: int | None) -> None:
        """Note when an answer may change next, None for never."""
        self.note(key, key in self, due_ms)

    def set_true(self, key: int, answer: bool) -> bool:
        """Note an answer alone; whether it flipped."""
        return self.note(key, answer, self.due_of(key))

    def drop(self, key: int) -> None:
        """Forget all of a key: what is kept, its answer and its due instant."""
        self.kept.pop(key, None)
        self.note(key, False, None)

    def all_keys(self) -> list[int]:
        """Every key of which anything is there, ascending."""
        return sorted(self.kept.keys() | self.live.keys())

    def find_due(self) -> None:
        """Bring `due_ms` up to the earliest, where the key that it came from has moved."""
        if self.due_stale:
            self.due_stale = False
            first_ms = min(self.live.values(), default=_TRUE_FOR_EVER) >> 1
            self.due_ms = None if first_ms == _NEVER else first_ms

    def due_keys(self, now_ms: int) -> list[int]:
        """The keys that are due by now, ascending."""
        last = now_ms * 2 + 1
        return sorted(key for key, live in self.live.items() if live <= last)

    def forget_answers(self) -> None:
        """Make every answer false and never due; what is kept stays."""
        self.live = {}
        self.due_ms, self.due_stale = None, False
