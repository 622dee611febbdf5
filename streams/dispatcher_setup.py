"""What the dispatcher checks before it sends anything: secrets, mail settings, Redis's configuration."""

import logging
from collections.abc import Iterable, Mapping

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from actions import Rule
from actions.mail import MailServer, read_sender, read_server
from actions.webhook import secret_problem
from streams.settings import SECRET_PREFIX, SettingError, Settings

logger = logging.getLogger(__name__)

REDIS_S_MAX = 5.0
REDIS_CONNECTIONS_MAX = 16
RULES_SHOWN_MAX = 5
# what Redis must be told so that it keeps what it has acknowledged
REDIS_CONFIGURATION = (
    ("appendonly", "yes", "entries are lost when Redis restarts"),
    ("appendfsync", "always", "the last entries are lost when the machine fails"),
    ("maxmemory-policy", "noeviction", "entries are lost when memory is short"),
)


def read_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """Signing secrets by name, from `TIDEGATE_SECRET_…`; raises `SettingError`, which never says what a secret is."""
    secrets = {}
    for variable, secret in environment.items():
        if variable.startswith(SECRET_PREFIX):
            problem = secret_problem(secret)
            if problem is not None:
                raise SettingError(f"{variable}: {problem}: make one with `tidegate dispatcher --new-secret`")
            secrets[variable.removeprefix(SECRET_PREFIX)] = secret
    return secrets


class SecretCheck:
    """Called with the rules in force, says in the log which signing secrets are missing: once of each rule and secret."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self._secrets = secrets
        self._said: set[tuple[str, str]] = set()

    def __call__(self, rules: Iterable[Rule]) -> None:
        """Looks at `rules`."""
        missing: dict[str, list[str]] = {}
        for rule in rules:
            if rule.secret and rule.secret not in self._secrets and (rule.secret, rule.id) not in self._said:
                self._said.add((rule.secret, rule.id))
                missing.setdefault(rule.secret, []).append(rule.id)
        for secret, ids in missing.items():
            logger.error(
                "%s%s: expected the signing secret of %s, got none: nothing is sent for that, each delivery waits "
                "(no_secret) and is given up after its last attempt: set it, start again",
                SECRET_PREFIX,
                secret,
                _rules_text(ids),
            )


def _rules_text(ids: list[str]) -> str:
    shown = ", ".join(ids[:RULES_SHOWN_MAX])
    more = f" and {len(ids) - RULES_SHOWN_MAX} more" if len(ids) > RULES_SHOWN_MAX else ""
    return f"{'rule' if len(ids) == 1 else 'rules'} {shown}{more}"


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
