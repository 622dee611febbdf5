"""What a vendor is: how its requests are proved to be its own, which notifications they hold, and what each means."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

# what one thing is told in
BODY_BYTES_MAX: Final = 1_000_000
# and a thousand of them: Segment sends as many at once unless it is told another number
BATCH_BYTES_MAX: Final = 4_000_000
# why a request is not believed: a bounded set, used as metric label
Doubt = Literal["no_signature", "wrong_signature", "old", "no_login", "wrong_login", "not_theirs"]


class Unproved(Exception):
    """A request that is not proved to be the vendor's: `doubt` is a code, the message a sentence without secrets."""

    def __init__(self, doubt: Doubt, sentence: str) -> None:
        super().__init__(sentence)
        self.doubt: Doubt = doubt


class Unsignable(Exception):
    """A sample that can't be signed, as only the vendor has the private key; the message says what to do."""


class Wanted(Exception):
    """What has to be got before a request can be proved: `url`, whose host the vendor's module has pinned."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.url = url


@dataclass(frozen=True)
class Request:
    """A request as it came. `headers` by their names in small letters; `url` as the vendor called it; `body` the raw bytes.

    `fetched`: what `prove` has asked for (`Wanted`), by URL.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    received_at_ms: int
    fetched: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Notification:
    """One thing that a vendor tells: `name` as the vendor has it, `id` which repeats have as well, None where there is none.

    `at_ms`: when it happened, epoch ms; None where it isn't said. `body`: what JSONPaths of a connection see.
    """

    name: str
    id: str | None
    at_ms: int | None
    body: dict[str, Any]


@dataclass(frozen=True)
class Names:
    """What a notification calls its contact; each is None where it isn't there.

    `user_id` is the company's own id, from metadata that it gave the vendor. `email` is an address as it came.
    `vendor_id` is the vendor's id of the person or account, without a prefix.
    """

    user_id: str | None = None
    email: str | None = None
    vendor_id: str | None = None


@dataclass(frozen=True)
class Said:
    """An event that a notification stands for: `name` canonical, `at_ms` None for the notification's own instant."""

    name: str
    properties: dict[str, Any]
    at_ms: int | None = None


@dataclass(frozen=True)
class Meaning:
    """What a notification means. Nothing in `said`: it is told as `<Title> <its name>` with `properties`.

    `traits` are true as of `traits_at_ms` (None: the notification's instant), which orders what vendors tell out of order;
    None in them clears. `links`: the names are one person's, so that those after the first are linked to it.
    `claimed`: anybody could have written the names, so that the traits are only set of a contact that is found by the address.
    `quiet`: with traits and nothing in `said`, no event is told beside them.
    `whole`: events as they are ours already, checked by `mean`; they are handed on, and nothing else here is looked at.
    """

    names: Names
    said: tuple[Said, ...] = ()
    properties: dict[str, Any] = field(default_factory=dict)
    traits: dict[str, Any] = field(default_factory=dict)
    traits_at_ms: int | None = None
    links: bool = False
    claimed: bool = False
    quiet: bool = False
    whole: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Answer:
    """What a sender is told of what was taken, or of what there was nothing in."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "text/plain"})
    body: bytes = b"ok\n"


def _nothing(request: Request) -> str | None:
    return None


def _any_text(secret: str) -> str | None:
    return None if len(secret) >= 8 else f"expected at least 8 characters, got {len(secret)}"


@dataclass(frozen=True)
class Vendor:
    """A vendor. `name` is in URLs and connections, `title` in names of events that nobody mapped.

    * `prove(request, secrets, now_ms)` raises `Unproved`, or `Wanted` where it first needs something; several secrets while they
      are rotated, each as good. It looks at the raw bytes, before anything is parsed, and compares in constant time. `now_ms` is
      the wall clock, epoch ms.
    * `read(request)`: the notifications, in order; none for a test ping. Raises `Rejection` where the body can't be read.
    * `mean(notification)`: raises `Rejection` where it can't be what its name says.
    * `sign(body, secret, url, now_ms)`: the headers that prove `body`, for samples, and `sample(now_ms)`: a body to try it with.
      Where the proof stands in the body, `seal(body, secret, now_ms)` puts it there first. Both raise `Unsignable`.
    * `secret_problem`: what a secret should have been, None when it is all right; never says what it is.
    * `confirms`: a URL that has to be called to agree to a subscription, of a request that was proved; its host is pinned.
    * `answer`: to what was taken.
    * `body_bytes_max`: of a request; of those who send a thousand things at once it is more.
    """

    name: str
    title: str
    prove: Callable[[Request, Sequence[str], int], None]
    read: Callable[[Request], list[Notification]]
    mean: Callable[[Notification], Meaning]
    sample: Callable[[int], bytes]
    sign: Callable[[bytes, str, str, int], dict[str, str]]
    seal: Callable[[bytes, str, int], bytes] = lambda body, secret, now_ms: body
    secret_problem: Callable[[str], str | None] = _any_text
    confirms: Callable[[Request], str | None] = _nothing
    once: Callable[[Request], str | None] = _nothing
    once_ms: int = 0
    content_type: str = "application/json"
    answer: Answer = Answer()
    body_bytes_max: int = BODY_BYTES_MAX


# keys under which metadata names the company's own id of a contact
USER_ID_KEYS: Final = ("user_id", "userId", "userid", "tidegate_user_id")


def user_id_in(metadata: Any) -> str | None:
    """The company's id of a contact in a vendor's metadata; None where there is none."""
    if not isinstance(metadata, dict):
        return None
    return next((found for key in USER_ID_KEYS if (found := text_of(metadata.get(key)))), None)


def text_of(value: Any) -> str | None:
    """An id as text: text itself without blanks around it, or a whole number's digits; None for all else and for `""`."""
    if isinstance(value, str):
        return value.strip() or None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None
