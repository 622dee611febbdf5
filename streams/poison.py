"""What our own code raises on in one partition: records and contacts that are left out, and when that is too much.

A record on which a contact's step raises goes to `rejected` when it is read again. A contact on whose state a timer, a
change-over or the decoding raises is quarantined: its state stays as committed, its timers wait, its events go to
`rejected`. Where more than a few do, the cause is a deploy and not the data, and rejecting would empty the stream into
`rejected`: then the partition is stopped and nothing is lost.

Invariants:
  * A record is left out only after it was seen to raise, and together with everything of the memory that it left behind.
  * Nothing here is state: it outlives the partition's memory, and a new owner, who begins without it, comes to the same.
  * Newer definitions end all of it: whatever was left out but is not committed as rejected yet is tried again.
"""

import hashlib
import logging
import re
from collections import deque
from collections.abc import Mapping

import orjson

from streams.inbox import Taken

logger = logging.getLogger("tidegate.worker")

# one more within the window stops the partition
RECORDS_MAX = 10
WINDOW_MS = 600_000.0
# definitions are new for so many records or so long, whichever ends first: then the first record that raises stops
NEW_RECORDS = 1_000
NEW_MS = 600_000.0
# one more contact stops the partition
CONTACTS_MAX = 100
# the metric has the others
CONTACTS_LOGGED = 10
TEXT_MAX = 200

_CURE = (
    "nothing of it is lost; put the definitions of before in force again (it goes on under any newer revision), "
    "or start the worker again, with code that takes it"
)


class Poison:
    """Of one partition, for as long as it is owned.

    `records`: what to say of each record that is left out, by topic and offset. `contacts`: the quarantined ones' keys.
    `stopped`: why the partition takes nothing in, None while it does.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.records: dict[tuple[str, int], str] = {}
        self.contacts: set[bytes] = set()
        self.stopped: str | None = None
        self._raised_ms: deque[float] = deque(maxlen=RECORDS_MAX + 1)
        # revision, records read and instant when definitions were taken up here; None: none were
        self._taken_up: tuple[int, int, float] | None = None

    def take_plan(self, revision: int, read: int, spent_ms: float) -> None:
        """Newer definitions are in force; `read` is how many records the partition has read, `spent_ms` the clock's."""
        if self.stopped is not None:
            logger.warning("partition %d goes on, under revision %d of the definitions", self.number, revision)
        self.records.clear()
        self.contacts.clear()
        self.stopped = None
        self._raised_ms.clear()
        self._taken_up = revision, read, spent_ms

    def forget(self, positions: Mapping[str, int]) -> None:
        """Leaves out no longer what was committed as rejected: what is before `positions` isn't read again."""
        for place in [(topic, offset) for topic, offset in self.records if offset < positions.get(topic, 0)]:
            del self.records[place]

    def raised(self, taken: Taken, error: BaseException, read: int, spent_ms: float) -> None:
        """A record's step raised `error`: it is left out when it is read again, or the partition stops."""
        _, offset, key, value = taken.record
        kind, place = type(error).__name__, place_of(error)
        record = f"the record at {taken.topic}, offset {offset}, on which this version raises {kind} ({place})"
        logger.debug("partition %d: %s, offset %d", self.number, taken.topic, offset, exc_info=error)
        self._raised_ms.append(spent_ms)
        if why := self._too_much(read, spent_ms):
            self._stop(f"at {record}: {why}")
            return
        self.records[taken.topic, offset] = f"this version raises {kind} ({place}): {text_of(error, key, value)}"
        logger.error(
            "partition %d leaves out %s: it goes to `rejected` and all else flows; "
            "have that mended, then `tidegate rejected replay --reason raised`",
            self.number,
            record,
        )

    def quarantine(self, key: bytes, error: BaseException, what: str) -> None:
        """`what` of a contact raised `error`: nothing of it is touched any more."""
        self.contacts.add(key)
        kind, place = type(error).__name__, place_of(error)
        if len(self.contacts) <= CONTACTS_LOGGED:
            logger.error(
                "partition %d: contact %s (a hash) is quarantined, as this version raises %s (%s) on its %s: its state stays "
                "as committed, its events go to `rejected`; have that mended and start the worker again, or put newer "
                "definitions in force, then `tidegate rejected replay --reason quarantined`",
                self.number, hash_of(key), kind, place, what,
            )  # fmt: skip
        logger.debug("partition %d: contact %r is quarantined", self.number, key, exc_info=error)
        if len(self.contacts) > CONTACTS_MAX and self.stopped is None:
            self._stop(
                f"with more than {CONTACTS_MAX} contacts quarantined, the last as this version raises {kind} ({place}) on "
                f"its {what}"
            )

    def _too_much(self, read: int, spent_ms: float) -> str | None:
        """Why the record that has just raised stops the partition, if it does."""
        if self._taken_up is not None:
            revision, read_before, since_ms = self._taken_up
            if read - read_before <= NEW_RECORDS and spent_ms - since_ms < NEW_MS:
                return f"revision {revision} of the definitions has only just been taken up"
        if len(self._raised_ms) > RECORDS_MAX and spent_ms - self._raised_ms[0] < WINDOW_MS:
            return f"more than {RECORDS_MAX} did so within {WINDOW_MS / 60_000:g} minutes"
        return None

    def _stop(self, why: str) -> None:
        self.stopped = why
        logger.error("partition %d is stopped %s; %s", self.number, why, _CURE)


def hash_of(key: bytes) -> str:
    """What stands for a contact where its id must not be told."""
    return hashlib.blake2b(key, digest_size=6).hexdigest()


def place_of(error: BaseException) -> str:
    """The line that raised."""
    traceback = error.__traceback__
    if traceback is None:
        return "nowhere"
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    file = "/".join(traceback.tb_frame.f_code.co_filename.split("/")[-2:])
    return f"{file}, line {traceback.tb_lineno}"


def text_of(error: BaseException, key: bytes | None, value: bytes | None) -> str:
    """The exception's words on one bounded line, with those left out that stand in the record: they are a contact's."""
    told = {*_words(key or b""), *_words(value or b"")}
    text = " ".join(str(error)[: 10 * TEXT_MAX].split())
    return re.sub(r"\w+", lambda word: "…" if word[0] in told else word[0], text)[:TEXT_MAX]


def _words(written: bytes) -> list[str]:
    try:
        written = orjson.dumps(orjson.loads(written))  # "\u00e9" is é
    except orjson.JSONDecodeError:
        pass
    return re.findall(r"\w+", written.decode("utf-8", "replace"))
