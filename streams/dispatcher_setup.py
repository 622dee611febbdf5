"""What the dispatcher checks before it sends anything: secrets, mail and link settings, Redis's configuration."""

import dataclasses
import logging
from collections.abc import Iterable, Iterator, Mapping

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from actions import Rule
from actions.credentials import key_problem
from actions.mail import read_sender, read_server
from actions.mail_connections import MailServer
from actions.reach import Reach
from actions.registry import SPECS
from actions.targets import url_problem
from actions.unsubscribe import UnsubscribeLinks
from schemas.deliveries import Code
from streams.settings import SECRET_PREFIX, SettingError, Settings

logger = logging.getLogger(__name__)

REDIS_S_MAX = 5.0
REDIS_CONNECTIONS_MAX = 64
RULES_SHOWN_MAX = 5
# what Redis must be told so that it keeps what it has acknowledged
REDIS_CONFIGURATION = (
    ("appendonly", "yes", "entries are lost when Redis restarts"),
    ("appendfsync", "always", "the last entries are lost when the machine fails"),
    ("maxmemory-policy", "noeviction", "entries are lost when memory is short"),
)


@dataclasses.dataclass(frozen=True)
class Secrets:
    """`by_name`: what rules name. `unsubscribe` signs links, `unsubscribe_before` signed those of before.

    `inapp` is the token of who reads in-app messages.
    """

    by_name: Mapping[str, str]
    unsubscribe: str | None = None
    inapp: str | None = None
    unsubscribe_before: str | None = None

    def __repr__(self) -> str:
        return f"Secrets({', '.join(sorted(self.by_name))})"  # never what they are


def read_secrets(environment: Mapping[str, str]) -> Secrets:
    """The secrets of `TIDEGATE_SECRET_…`; raises `SettingError`, which never says what a secret is.

    Those that aren't ours alone are looked at once a rule names one (`SetUpCheck`): others may be a gateway's, for its vendors.
    """
    named = {
        variable.removeprefix(SECRET_PREFIX): secret
        for variable, secret in environment.items()
        if variable.startswith(SECRET_PREFIX)
    }
    own = {name: named.pop(name, None) for name in ("UNSUBSCRIBE", "UNSUBSCRIBE_BEFORE", "INAPP", "API")}
    for name, secret in own.items():
        problem = None if secret is None else key_problem(secret)
        if problem is not None:
            raise SettingError(f"{SECRET_PREFIX}{name}: {problem}")
    return Secrets(named, own["UNSUBSCRIBE"], own["INAPP"], own["UNSUBSCRIBE_BEFORE"])


def read_links(settings: Settings, secrets: Secrets) -> UnsubscribeLinks | None:
    """What makes unsubscribe links, None where none are set up; raises `SettingError` where half of it is."""
    if secrets.unsubscribe is None and secrets.unsubscribe_before is not None:
        raise SettingError(f"{SECRET_PREFIX}UNSUBSCRIBE_BEFORE: expected {SECRET_PREFIX}UNSUBSCRIBE with it, got none")
    if not settings.public_url and secrets.unsubscribe is None:
        return None
    if not settings.public_url:
        raise SettingError(f"{SECRET_PREFIX}UNSUBSCRIBE: expected TIDEGATE_PUBLIC_URL with it, got none")
    if secrets.unsubscribe is None:
        raise SettingError(f"TIDEGATE_PUBLIC_URL: expected {SECRET_PREFIX}UNSUBSCRIBE with it, got none")
    expected = url_problem(settings.public_url)
    if expected is not None or "?" in settings.public_url or "#" in settings.public_url:
        raise SettingError(f"TIDEGATE_PUBLIC_URL: expected {expected or 'a URL that a path can follow'}, got another")
    return UnsubscribeLinks(settings.public_url, secrets.unsubscribe, secrets.unsubscribe_before)


def read_reach(settings: Settings) -> Reach:
    """Who may be called."""
    hosts = tuple(name.strip() for name in settings.targets.split(",") if name.strip())
    return Reach(hosts, private=settings.targets_private == "allow")


def read_sms_url(settings: Settings) -> str:
    """Where the SMS API is; raises `SettingError`."""
    expected = url_problem(settings.sms_url)
    if expected is not None:
        raise SettingError(f"TIDEGATE_SMS_URL: expected {expected}, got something else")
    return settings.sms_url


class SetUpCheck:
    """Called with the rules in force, says in the log what the environment lacks for them: once of each, and of each rule.

    `mail_from`: the sender of e-mails, "" for none; `links`: whether messages can have one to leave their group.
    """

    def __init__(self, secrets: Mapping[str, str], *, mail_from: str = "", links: bool = False) -> None:
        self._secrets, self._mail_from, self._links = secrets, mail_from, links
        self._said: set[tuple[str, str]] = set()

    def __call__(self, rules: Iterable[Rule]) -> None:
        """Looks at `rules`."""
        missing: dict[tuple[str, Code], list[str]] = {}
        for rule in rules:
            name = rule.id if rule.step is None else f"{rule.id}/{rule.step}"
            for sentence, code in self._problems(rule):
                if (sentence, name) not in self._said:
                    self._said.add((sentence, name))
                    missing.setdefault((sentence, code), []).append(name)
        for (sentence, code), names in missing.items():
            logger.error(
                "%s, for %s: nothing is sent for that, each delivery waits (%s) and is given up after its last attempt: "
                "set it, start again",
                sentence,
                _names_text(names),
                code,
            )

    def _problems(self, rule: Rule) -> Iterator[tuple[str, Code]]:
        check = SPECS[rule.channel].secret_problem
        if rule.secret and check is not None:
            problem: str | None = f"expected a secret of channel {rule.channel}, got none"
            if rule.secret in self._secrets:
                problem = check(self._secrets[rule.secret])
            if problem is not None:
                yield f"{SECRET_PREFIX}{rule.secret}: {problem}", "no_secret"
        if rule.channel == "email" and not self._mail_from:
            yield "TIDEGATE_MAIL_FROM: expected the sender of e-mails, got none", "not_set_up"
        if rule.channel == "email" and rule.group is not None and not self._links:
            sentence = f"TIDEGATE_PUBLIC_URL and {SECRET_PREFIX}UNSUBSCRIBE: expected both for links to leave a group, got none"
            yield sentence, "not_set_up"


def _names_text(names: list[str]) -> str:
    shown = ", ".join(names[:RULES_SHOWN_MAX])
    return f"{shown} and {len(names) - RULES_SHOWN_MAX} more" if len(names) > RULES_SHOWN_MAX else shown


def check_mail(settings: Settings) -> MailServer:
    """The mail server of the settings; raises `SettingError`, without a password."""
    try:
        server = read_server(settings.smtp)
    except ValueError as error:
        raise SettingError(f"TIDEGATE_SMTP: expected {error}, got something else") from None
    try:
        if settings.mail_from:
            read_sender(settings.mail_from)
    except ValueError as error:
        raise SettingError(f"TIDEGATE_MAIL_FROM: expected {error}, got {settings.mail_from!r}") from None
    return server


def connect(settings: Settings) -> redis.Redis:
    """A client that says at once when Redis is away; whoever calls waits. Raises `SettingError`, without a password."""
    try:
        pool = redis.BlockingConnectionPool.from_url(
            settings.redis,
            max_connections=REDIS_CONNECTIONS_MAX,
            timeout=REDIS_S_MAX,
            socket_timeout=REDIS_S_MAX,
            socket_connect_timeout=REDIS_S_MAX,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )
    except ValueError:
        raise SettingError("TIDEGATE_REDIS: expected redis://host:port/0 or rediss://…, got something else") from None
    return redis.Redis.from_pool(pool)


async def redis_problems(client: redis.Redis) -> list[str]:
    """What of Redis's configuration would lose entries, a sentence each; where it may not be asked, that."""
    try:
        found = await client.config_get("appendonly", "appendfsync", "maxmemory-policy", "maxmemory")
    except redis.ResponseError:
        settings = ", ".join(f"{name} {expected}" for name, expected, _ in REDIS_CONFIGURATION)
        return [f"redis doesn't tell its configuration: see that it runs with {settings}"]
    except (redis.RedisError, OSError):
        return []  # away: the ledger says so and waits
    text = {_text(name): _text(value) for name, value in found.items()}
    bounded = text.get("maxmemory", "0") != "0"
    return [
        f"redis: expected {name} {expected}, got {text[name]}: {harm} (`redis-cli CONFIG SET {name} {expected}`)"
        for name, expected, harm in REDIS_CONFIGURATION
        if text.get(name, expected) != expected and (bounded or name != "maxmemory-policy")
    ]


def _text(value: bytes | str | None) -> str:
    return value.decode() if isinstance(value, bytes) else value or ""
