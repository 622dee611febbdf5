"""What the dispatcher checks before it sends anything: secrets, mail settings, Redis's configuration."""

from collections.abc import Mapping

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from actions.mail import MailServer, read_sender, read_server
from actions.webhook import secret_problem
from streams.settings import SECRET_PREFIX, SettingError, Settings

REDIS_S_MAX = 5.0
REDIS_CONNECTIONS_MAX = 16
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
