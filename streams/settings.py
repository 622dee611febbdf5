"""Settings: environment variables `TIDEGATE_…`, each declared once with unit, default and help.

The README's table is made from `SETTINGS`. A bad value is refused at start, naming the variable; a variable that starts
with `TIDEGATE_` and is none of these is refused too, as it is most likely a slip of the pen.
"""

import dataclasses
import os
from collections.abc import Callable, Mapping
from typing import Any

from schemas.instants import parse_duration


class SettingError(Exception):
    """A setting that can't be used; the operator corrects the variable that it names and starts again."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """One setting: field of `Settings`, default as it would be written, what it may be, and what it is for."""

    field: str
    default: str
    kind: str
    help: str

    @property
    def variable(self) -> str:
        """The environment variable."""
        return "TIDEGATE_" + self.field.removesuffix("_ms").upper()


SETTINGS = (
    Setting("broker", "127.0.0.1:9092", "hosts", "Kafka's bootstrap servers, `host:port`, comma-separated"),
    Setting("redis", "redis://127.0.0.1:6379/0", "url", "Redis for the dispatcher's ledger"),
    Setting("prefix", "tidegate.", "text", "what all topic names begin with; also the name of the worker group"),
    Setting("clock", "wall", "wall|arrival", "what arrival time is with nothing left to read: the wall clock, or still"),
    Setting("grace_ms", "2s", "duration", "how long after a due instant events from before it are waited for"),
    Setting("slack_ms", "500ms", "duration", "how far behind the wall clock arrival time is when all is read"),
    Setting("dedup_horizon_ms", "24h", "duration", "how long the same `messageId` counts as the same event"),
    Setting("partitions", "12", "count", "partitions of each topic, for `topics create`; fixed for a prefix's life"),
    Setting("replication", "1", "count", "replicas of each topic, for `topics create`; 3 in production"),
    Setting("session_ms", "30s", "duration", "a worker unheard of for this long loses its partitions"),
    Setting("chunk_events", "500", "count", "events applied before the loop gets its turn, at most"),
    Setting("checkpoint_idle_ms", "50ms", "duration", "from the first change to the checkpoint, when idle"),
    Setting("checkpoint_load_ms", "120ms", "duration", "the same under load, at most"),
    Setting("checkpoint_events", "5000", "count", "events after which a checkpoint comes at once"),
    Setting("transaction_timeout_ms", "30s", "duration", "after which the broker aborts a checkpoint; above the longest"),
    Setting("web_port", "6066", "port", "port of /metrics, /livez and /readyz; 0: any free one, said in the log"),
    Setting("web_host", "127.0.0.1", "text", "address that they are served on"),
    Setting("data_dir", ".tidegate", "text", "directory for what Faust keeps; nothing of ours is in it"),
    Setting("smtp", "smtp://127.0.0.1:25", "url", "mail server of the e-mail channel; `smtps://` for TLS from the start"),
    Setting("mail_from", "", "text", "sender of the e-mail channel, `Name <address>`; needed as soon as a rule sends mail"),
    Setting("templates", "templates", "text", "directory of the e-mail templates"),
    Setting("log", "text", "text|json", "how log lines look"),
)  # fmt: skip

# secrets are named by rules (`secret: SHOP_WEBHOOK`) and live under this prefix; they are never read into Settings
SECRET_PREFIX = "TIDEGATE_SECRET_"


@dataclasses.dataclass(frozen=True)
class Settings:
    """All settings, read and checked. Durations are milliseconds."""

    broker: str
    redis: str
    prefix: str
    clock: str
    grace_ms: int
    slack_ms: int
    dedup_horizon_ms: int
    partitions: int
    replication: int
    session_ms: int
    chunk_events: int
    checkpoint_idle_ms: int
    checkpoint_load_ms: int
    checkpoint_events: int
    transaction_timeout_ms: int
    web_port: int
    web_host: str
    data_dir: str
    smtp: str
    mail_from: str
    templates: str
    log: str

    @property
    def servers(self) -> list[str]:
        """Bootstrap servers as aiokafka wants them."""
        return [server.strip() for server in self.broker.split(",")]

    @property
    def group(self) -> str:
        """Consumer group, Faust app id and stem of the transactional ids of this prefix's workers."""
        return f"{self.prefix}worker"

    def topic(self, name: str) -> str:
        """Full name of a topic of `schemas.topics`."""
        return self.prefix + name


def load_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Settings from the environment; raises `SettingError` naming the variable, what it may be and what it is."""
    environment = os.environ if environment is None else environment
    known = {setting.variable for setting in SETTINGS}
    for name in environment:
        if (
            name.startswith("TIDEGATE_")
            and name not in known
            and not name.startswith((SECRET_PREFIX, "TIDEGATE_TEST_"))
        ):
            close = min(known, key=lambda other: _distance(name, other))
            raise SettingError(f"{name}: no such setting; did you mean {close}? `tidegate settings` lists them all")
    values: dict[str, Any] = {}
    for setting in SETTINGS:
        text = environment.get(setting.variable, setting.default)
        try:
            values[setting.field] = _PARSERS.get(setting.kind, _choice(setting.kind))(text)
        except ValueError as error:
            raise SettingError(f"{setting.variable}: expected {error}, got {text!r}") from None
    return Settings(**values)


def _duration(text: str) -> int:
    duration_ms = parse_duration(text)
    if duration_ms is None:
        raise ValueError("a duration such as 500ms, 2s or 1d12h")
    return duration_ms


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise ValueError("a whole number from 1 on")
    return int(text)


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise ValueError("a port from 0 to 65535")
    return int(text)


def _hosts(text: str) -> str:
    for server in text.split(","):
        host, _, port = server.strip().rpartition(":")
        if not host or not port.isdigit():
            raise ValueError("`host:port`, or several with commas between")
    return text


def _url(text: str) -> str:
    if "://" not in text:
        raise ValueError("a URL with its scheme")
    return text


def _choice(kind: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        if text not in kind.split("|"):
            raise ValueError(" or ".join(repr(choice) for choice in kind.split("|")))
        return text

    return check


_PARSERS: dict[str, Callable[[str], Any]] = {
    "duration": _duration,
    "count": _count,
    "port": _port,
    "hosts": _hosts,
    "url": _url,
    "text": str,
}


def _distance(a: str, b: str) -> int:
    """Edits between two short names (Levenshtein)."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
    return row[-1]
