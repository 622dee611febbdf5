"""Settings: environment variables `TIDEGATE_…`, each declared once with unit, default and help.

`SETTINGS` makes the table in deploy/README.md. A bad value is refused at start, naming the variable; a variable that starts
with `TIDEGATE_` and is none of these is refused too, as it is most likely a slip of the pen.
"""

import dataclasses
import os
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from schemas.instants import DURATION_MS_MAX, format_duration, parse_duration

if TYPE_CHECKING:
    from segments import Limits

MINUTE_MS, DAY_MS = 60_000, 86_400_000
# Kafka allows 249 characters a topic; the longest of our names has 14
PREFIX_LENGTH_MAX = 200


class SettingError(Exception):
    """A setting that can't be used; the operator corrects the variable that it names and starts again."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """One setting: field of `Settings`, default as it would be written, what it may be, and what it is for.

    `least`, `most`: bounds of a duration (ms) or a count, both allowed themselves; None where the kind's own count.
    `zero`: 0, with or without a unit, is allowed below them.
    """

    field: str
    default: str
    kind: str
    help: str
    least: int | None = None
    most: int | None = None
    zero: bool = False

    @property
    def variable(self) -> str:
        """The environment variable."""
        return "TIDEGATE_" + self.field.removesuffix("_ms").upper()


SETTINGS = (
    Setting("broker", "127.0.0.1:9092", "hosts", "Kafka's bootstrap servers, `host:port`, comma-separated"),
    Setting("broker_security", "PLAINTEXT", "PLAINTEXT|SSL|SASL_PLAINTEXT|SASL_SSL", "TLS, a login, or both"),
    Setting("broker_ca", "", "text", "PEM file of the authority that issued the broker's certificate; else the system's"),
    Setting("broker_certificate", "", "text", "PEM file of a client certificate, where the broker wants one"),
    Setting("broker_key", "", "text", "PEM file of its key, not encrypted; none where the certificate's file has it too"),
    Setting("broker_mechanism", "PLAIN", "PLAIN|SCRAM-SHA-256|SCRAM-SHA-512", "SASL mechanism of the login"),
    Setting("broker_user", "", "text", "who logs in"),
    Setting("broker_password", "", "secret", "with what; never shown, nor written to any log"),
    Setting("redis", "redis://127.0.0.1:6379/0", "url", "Redis for the dispatcher's ledger"),
    Setting("prefix", "tidegate.", "prefix", "what all topic names begin with; also the name of the worker group"),
    Setting("author", "", "text", "who applies definitions, for `tidegate segments history`; none: the user of the machine"),
    Setting("clock", "wall", "wall|arrival", "what arrival time is with nothing left to read: the wall clock, or still"),
    Setting("grace_ms", "2s", "duration", "how long after a due instant events from before it are waited for"),
    Setting("slack_ms", "500ms", "duration", "how far behind the wall clock arrival time is when all is read"),
    Setting("dedup_horizon_ms", "24h", "duration", "how long the same `messageId` counts as the same event", most=400 * DAY_MS),
    Setting("limit_events", "10000", "count", "events kept one by one for a contact and condition; the oldest go first",
            most=1_000_000),
    Setting("limit_values", "10000", "count", "values of `by`, `distinct` and `per`; the one seen longest ago goes first",
            most=1_000_000),
    Setting("limit_traits", "1000", "count", "traits of a contact; the one seen longest ago goes first", most=100_000),
    Setting("limit_state_bytes", "921600", "count", "a contact's encoded state; the oldest events kept one by one go first",
            least=64 * 1024, most=900 * 1024),
    Setting("limit_depth", "16", "count", "levels of conditions in a definition; more is an error", most=64),
    Setting("limit_conditions", "256", "count", "conditions and sequence steps in a segment; more is an error", most=4096),
    Setting("partitions", "12", "count", "partitions of each topic, for `topics create`; fixed for a prefix's life", most=10_000),
    Setting("replication", "1", "count", "replicas of each topic, for `topics create`; 3 in production", most=100),
    Setting("session_ms", "30s", "duration", "a worker unheard of for this long loses its partitions",
            least=1000, most=30 * MINUTE_MS),
    Setting("instance", "", "prefix", "a worker's name that no other has, and the same at each start: a start within "
            "TIDEGATE_SESSION of its end moves no partitions"),
    Setting("chunk_events", "500", "count", "events applied before the loop gets its turn, at most", most=100_000),
    Setting("checkpoint_idle_ms", "50ms", "duration", "from the first change to the checkpoint, when idle", most=MINUTE_MS),
    Setting("checkpoint_load_ms", "120ms", "duration", "the same under load, at most", most=MINUTE_MS),
    Setting("checkpoint_events", "10000", "count", "events after which a checkpoint comes at once", most=1_000_000),
    Setting("transaction_timeout_ms", "30s", "duration", "after which the broker aborts a checkpoint; above the longest",
            least=1000, most=15 * MINUTE_MS),
    Setting("web_port", "6066", "port", "port of /metrics, /livez and /readyz; 0: any free one, said in the log"),
    Setting("web_host", "127.0.0.1", "text", "address that they are served on"),
    Setting("data_dir", ".tidegate", "text", "directory for what Faust keeps; nothing of ours is in it"),
    Setting("smtp", "smtp://127.0.0.1:25", "url", "mail server of the e-mail channel; `smtps://` for TLS from the start"),
    Setting("mail_from", "", "text", "sender of the e-mail channel, `Name <address>`; needed as soon as a message goes by it"),
    Setting("public_url", "", "text", "where the world reaches a dispatcher's web port, `https://…`: unsubscribe links begin so"),
    Setting("sms_url", "https://api.twilio.com", "url", "API of the SMS channel: Twilio's, or another that is called like it"),
    Setting("targets", "", "names", "hosts that may be called, comma-separated, `*.` before a name for all within it; none: all "
            "outside of our own network"),
    Setting("targets_private", "refuse", "refuse|allow", "whether hosts with private, loopback or reserved addresses may be "
            "called; those that TIDEGATE_TARGETS names always may"),
    Setting("consent", "assumed", "assumed|explicit", "whether who has said nothing of a message group gets its messages"),
    Setting("templates", "templates", "text", "directory of the e-mail templates"),
    Setting("gateway_port", "6070", "port", "port that `tidegate gateway` takes events on; 0: any free one, said in the log"),
    Setting("gateway_host", "127.0.0.1", "text", "address that it takes them on"),
    Setting("gateway_url", "", "text", "where the world reaches a gateway, `https://…`: HubSpot and Mandrill sign the URL they "
            "call; none: as the request says it"),
    Setting("gateway_bytes", "67108864", "count", "bytes that may be read, or wait for Kafka, in a gateway; beyond it requests "
            "are answered with 429", least=4 << 20, most=1 << 36),
    Setting("connections", "connections.yaml", "text", "file of the connections: who may send what, and where it comes in"),
    Setting("log", "text", "text|json", "how log lines look"),
    Setting("log_level", "info", "debug|info|warning|error", "from which level on; `debug` has contact ids, no other has"),
    Setting("metrics_segments", "200", "count", "segments and sequences, each, that are labels in metrics; the rest is `other`",
            most=2_000),
    Setting("memory_bytes", "4294967296", "count", "memory for contacts' state in a worker; beyond it no more events are read",
            least=16 << 20, most=1 << 44),
    Setting("stall_exit_ms", "2m", "duration", "a worker that has not moved for so long ends, for its supervisor; 0: never",
            least=5000, most=DAY_MS, zero=True),
    Setting("report_keep_ms", "1m", "duration", "how long `tidegate api` gives a report again to whoever asks the same",
            most=DAY_MS, zero=True),
    Setting("report_waiting", "8", "count", "reports that are read or waited for in `tidegate api`; one more is refused (503)",
            most=1000),
)  # fmt: skip

# stands for the host of a worker that doesn't tell where it listens; no machine can have that name (RFC 6761)
UNTOLD = "worker.invalid"
# secrets are named by rules (`secret: SHOP_WEBHOOK`) and live under this prefix; they are never read into Settings
SECRET_PREFIX = "TIDEGATE_SECRET_"
# has Python run the core's sources where it is compiled; what looks at it runs before any of our code (deploy/README.md)
PURE = "TIDEGATE_PURE"


@dataclasses.dataclass(frozen=True)
class Settings:
    """All settings, read and checked. Durations are milliseconds."""

    broker: str
    broker_security: str
    broker_ca: str
    broker_certificate: str
    broker_key: str
    broker_mechanism: str
    broker_user: str
    broker_password: str = dataclasses.field(repr=False)
    redis: str
    prefix: str
    author: str
    clock: str
    grace_ms: int
    slack_ms: int
    dedup_horizon_ms: int
    limit_events: int
    limit_values: int
    limit_traits: int
    limit_state_bytes: int
    limit_depth: int
    limit_conditions: int
    partitions: int
    replication: int
    session_ms: int
    instance: str
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
    public_url: str
    sms_url: str
    targets: str
    targets_private: str
    consent: str
    templates: str
    gateway_port: int
    gateway_host: str
    gateway_url: str
    gateway_bytes: int
    connections: str
    log: str
    log_level: str
    metrics_segments: int
    memory_bytes: int
    stall_exit_ms: int
    report_keep_ms: int
    report_waiting: int

    @property
    def servers(self) -> list[str]:
        """Bootstrap servers as aiokafka wants them."""
        return [server.strip() for server in self.broker.split(",")]

    @property
    def uses_tls(self) -> bool:
        """Whether connections to Kafka are encrypted."""
        return self.broker_security.endswith("SSL")

    @property
    def uses_login(self) -> bool:
        """Whether connections to Kafka begin with a login."""
        return self.broker_security.startswith("SASL")

    @property
    def group(self) -> str:
        """Consumer group, Faust app id and stem of the transactional ids of this prefix's workers."""
        return f"{self.prefix}worker"

    def limits(self, grace_ms: int | None = None) -> "Limits":
        """The settings that belong to what a segment means; `grace_ms` in place of the setting's."""
        from segments.limits import Limits

        return Limits(
            grace_ms=self.grace_ms if grace_ms is None else grace_ms,
            dedup_horizon_ms=self.dedup_horizon_ms,
            events=self.limit_events,
            values=self.limit_values,
            traits=self.limit_traits,
            state_bytes=self.limit_state_bytes,
            depth=self.limit_depth,
            conditions=self.limit_conditions,
        )

    def topic(self, name: str) -> str:
        """Full name of a topic of `schemas.topics`."""
        return self.prefix + name


def load_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Settings from the environment; raises `SettingError` naming the variable, what it may be and what it is.

    What a URL is, is never said: it may hold a password.
    """
    environment = os.environ if environment is None else environment
    _refuse_unknown(environment)
    values: dict[str, Any] = {}
    for setting in SETTINGS:
        text = environment.get(setting.variable, setting.default)
        try:
            values[setting.field] = _value(setting, text)
        except ValueError as error:
            got = "something else" if setting.kind == "url" else _short(text)
            raise SettingError(f"{setting.variable}: expected {error}, got {got}") from None
    settings = Settings(**values)
    _refuse_half_access(settings)
    return settings


def shown(text: str, kind: str = "url") -> str:
    """A setting's value for people: nothing of a secret; of a URL neither password nor what comes after `?`, maybe another."""
    if kind == "secret":
        return "***" if text else ""
    if "://" not in text:
        return text
    text = re.sub(r"(?<=://)([^/@:]*):.*@", r"\1:***@", text)
    return re.sub(r"\?.*", "?***", text)


def _refuse_unknown(environment: Mapping[str, str]) -> None:
    known = {setting.variable for setting in SETTINGS} | {PURE}
    for name in environment:
        if not name.startswith("TIDEGATE_") or name in known or name.startswith((SECRET_PREFIX, "TIDEGATE_TEST_")):
            continue
        close = min(known, key=lambda other: _distance(name, other))
        # with half of it to change, it was not meant to be that one
        slip = 2 * _distance(name, close) <= len(name.removeprefix("TIDEGATE_"))
        meant = f"did you mean {close}? " if slip else ""
        raise SettingError(f"{name}: no such setting; {meant}`tidegate settings` lists them all")


def _refuse_half_access(settings: Settings) -> None:
    """Raises where a login has no user, or where something is set that `broker_security` makes no use of."""
    security = settings.broker_security
    login = {name: getattr(settings, f"broker_{name}") for name in ("user", "password")}
    files = {name: getattr(settings, f"broker_{name}") for name in ("ca", "certificate", "key")}
    for name, value in login.items():
        if settings.uses_login and not value:
            raise SettingError(
                f"TIDEGATE_BROKER_{name.upper()}: expected one with TIDEGATE_BROKER_SECURITY={security}, got none"
            )
    for wanted, given in (("SASL_SSL or SASL_PLAINTEXT", login), ("SSL or SASL_SSL", files)):
        for name, value in given.items():
            if value and not (settings.uses_login if given is login else settings.uses_tls):
                raise SettingError(
                    f"TIDEGATE_BROKER_{name.upper()}: expected TIDEGATE_BROKER_SECURITY={wanted} with it, got {security}"
                )
    if settings.broker_key and not settings.broker_certificate:
        raise SettingError("TIDEGATE_BROKER_KEY: expected TIDEGATE_BROKER_CERTIFICATE with it, got none")


def _value(setting: Setting, text: str) -> Any:
    if setting.kind == "duration":
        return _duration(text, setting.least or 0, setting.most or DURATION_MS_MAX, zero=setting.zero)
    if setting.kind == "count":
        return _whole(text, setting.least or 1, setting.most or 2**31 - 1, "a whole number")
    return _PARSERS.get(setting.kind, _choice(setting.kind))(text)


def _duration(text: str, least_ms: int, most_ms: int, *, zero: bool) -> int:
    duration_ms = 0 if zero and text == "0" else parse_duration(text)
    if duration_ms is None:
        raise ValueError("a duration such as 500ms, 2s or 1d12h")
    if not least_ms <= duration_ms <= most_ms and not (zero and duration_ms == 0):
        least = f"from {format_duration(least_ms)} to" if least_ms else "of at most"
        raise ValueError(f"a duration {least} {format_duration(most_ms)}{', or 0' if zero else ''}")
    return duration_ms


def _whole(text: str, least: int, most: int, what: str) -> int:
    # the length first: Python gives up on converting thousands of digits
    if not (text.isascii() and text.isdigit() and len(text) <= 20 and least <= int(text) <= most):
        raise ValueError(f"{what} from {least} to {most}")
    return int(text)


def _port(text: str) -> int:
    return _whole(text, 0, 65535, "a port")


def _hosts(text: str) -> str:
    for server in text.split(","):
        host, _, port = server.strip().rpartition(":")
        if not re.fullmatch(r"[^\s/@]+", host):
            raise ValueError("`host:port`, or several with commas between")
        _whole(port, 1, 65535, "`host:port` with a port")
    return text


def _names(text: str) -> str:
    for name in filter(None, text.split(",")):
        if not re.fullmatch(r"(\*\.)?[A-Za-z0-9._:-]{1,253}", name.strip()):
            raise ValueError("names of hosts or addresses with commas between, `*.` before a name for all within it")
    return text


def _prefix(text: str) -> str:
    if not re.fullmatch(rf"[A-Za-z0-9._-]{{0,{PREFIX_LENGTH_MAX}}}", text):
        raise ValueError(f"at most {PREFIX_LENGTH_MAX} letters, digits, '.', '_' and '-', as Kafka has them in topics")
    return text


def _url(text: str) -> str:
    if "://" not in text:
        raise ValueError("a URL with its scheme")
    return text


def _short(text: str) -> str:
    return repr(text) if len(text) <= 80 else f"{text[:80]!r}…"


def _choice(kind: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        if text not in kind.split("|"):
            raise ValueError(" or ".join(repr(choice) for choice in kind.split("|")))
        return text

    return check


_PARSERS: dict[str, Callable[[str], Any]] = {
    "port": _port,
    "hosts": _hosts,
    "prefix": _prefix,
    "names": _names,
    "url": _url,
    "text": str,
    "secret": str,
}


def _distance(a: str, b: str) -> int:
    """Edits between two short names (Levenshtein)."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
    return row[-1]
