"""How connections to Kafka are made: TLS and login for every client, and in words why one was not let in.

The password goes from the environment through `Settings` to the clients; it is in no message and no `repr`.
"""

import asyncio
import functools
import os
import socket
import ssl
from pathlib import Path
from typing import Any

from aiokafka.conn import create_conn
from aiokafka.errors import (
    IllegalSaslStateError,
    KafkaConnectionError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest

from streams.settings import SettingError, Settings

# what OpenSSL calls a certificate that is another's (X509_V_ERR_…_MISMATCH) or out of date
_NAME_MISMATCH = (62, 64)
_OUT_OF_DATE = (9, 10)
_KNOCK_S = 5.0
# what ACLs refuse: a topic, a group, the cluster, a transactional id
_FORBIDDEN = (29, 30, 31, 53)
# an alert comes with the answer to the first byte, if at all
_ALERT_S = 1.0


class SilentError(Exception):
    """A server took the connection and gave no answer. Operator's step: see that it is Kafka, and that it isn't stuck."""


def access(settings: Settings) -> dict[str, Any]:
    """Keyword arguments that every aiokafka client takes: the brokers, TLS and login. Raises `SettingError`."""
    return {"bootstrap_servers": settings.servers, **_protection(settings)}


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """What TLS is made with, None where there is none. Raises `SettingError` where a file can't be used."""
    if not settings.uses_tls:
        return None
    return _context(settings.broker_ca, settings.broker_certificate, settings.broker_key)


async def knock(settings: Settings, server: str) -> None:
    """Connects to `server` as all clients do, and asks what anybody may ask; raises what `reason` knows to explain."""
    name, _, text = server.rpartition(":")
    host, port = name.strip("[]"), int(text)
    async with asyncio.timeout(_KNOCK_S):
        _, writer = await asyncio.open_connection(host, port)
    writer.close()
    try:
        async with asyncio.timeout(_KNOCK_S):
            await _ask(settings, host, port)
    except TimeoutError:
        raise SilentError from None
    except KafkaConnectionError:
        await _hear_alert(host, port, tls_context(settings))
        raise


async def _ask(settings: Settings, host: str, port: int) -> None:
    connection = await create_conn(host, port, **_protection(settings))
    try:
        # a listener with a login answers what versions it speaks to anybody, and nothing more
        await connection.send(MetadataRequest([]))
    finally:
        connection.close()


async def _hear_alert(host: str, port: int, context: ssl.SSLContext | None) -> None:
    """Raises what TLS says against this client once hands are shaken, of which Kafka's client doesn't tell."""
    if context is None:
        return
    reader, writer = await asyncio.open_connection(host, port, ssl=context)
    try:
        async with asyncio.timeout(_ALERT_S):
            await reader.read(1)
    except TimeoutError:
        pass
    finally:
        writer.close()


def reason(error: Exception, settings: Settings) -> tuple[str, str]:
    """Why `knock` was not let in, and what to do: two parts of a sentence, without a secret."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _untrusted(error)
    if isinstance(error, SilentError):
        return "a connection, but no answer as a broker gives it", "see that this is Kafka's own port, and Kafka's log"
    if isinstance(error, SaslAuthenticationFailed):
        return (
            f"user {settings.broker_user!r} was refused by {settings.broker_mechanism}",
            "correct TIDEGATE_BROKER_USER and TIDEGATE_BROKER_PASSWORD, and see that the broker knows this user by "
            "this TIDEGATE_BROKER_MECHANISM",
        )
    if isinstance(error, UnsupportedSaslMechanismError):
        return (
            f"it doesn't take {settings.broker_mechanism}",
            "set TIDEGATE_BROKER_MECHANISM to one of the listener's sasl.enabled.mechanisms",
        )
    if isinstance(error, IllegalSaslStateError):
        return "it asks for no login", f"set TIDEGATE_BROKER_SECURITY to {'SSL' if settings.uses_tls else 'PLAINTEXT'}"
    if isinstance(error, ssl.SSLError) and "ALERT" in (error.reason or ""):
        return _client_refused(error, settings)
    if settings.uses_tls and isinstance(error, ssl.SSLError | ConnectionResetError):
        plain = "SASL_PLAINTEXT" if settings.uses_login else "PLAINTEXT"
        return "it speaks no TLS", f"set TIDEGATE_BROKER to its TLS listener, or TIDEGATE_BROKER_SECURITY to {plain}"
    if isinstance(error, KafkaConnectionError | ConnectionResetError):
        return _hung_up(settings)
    return _unreachable(error), "start Kafka there, or set TIDEGATE_BROKER to where it is (host:port)"


def forbidden(error: Exception) -> str:
    """What to add to a sentence where ACLs are what refused it; empty for anything else."""
    refused = getattr(error, "errno", None) in _FORBIDDEN
    return ": give TIDEGATE_BROKER_USER the ACLs that deploy/README.md lists" if refused else ""


def _untrusted(error: ssl.SSLCertVerificationError) -> tuple[str, str]:
    said = f"its certificate is not trusted: {error.verify_message.rstrip('.')}"
    if error.verify_code in _NAME_MISMATCH:
        return said, "set TIDEGATE_BROKER to a name that the certificate has (subjectAltName), or have it issued anew"
    if error.verify_code in _OUT_OF_DATE:
        return said, "renew the broker's certificate, or set this machine's clock"
    return said, "set TIDEGATE_BROKER_CA to the PEM file of the authority that issued it"


def _client_refused(error: ssl.SSLError, settings: Settings) -> tuple[str, str]:
    said = f"it refused TLS ({(error.reason or '').lower().replace('_', ' ')})"
    if settings.broker_certificate:
        return said, "set TIDEGATE_BROKER_CERTIFICATE to one issued by an authority that the broker trusts"
    return said, "set TIDEGATE_BROKER_CERTIFICATE and TIDEGATE_BROKER_KEY, as the broker wants a certificate of clients"


def _hung_up(settings: Settings) -> tuple[str, str]:
    """The other end closed: what a Kafka listener does that was spoken to in another way than it expects."""
    others = [name for name in ("SSL", "SASL_PLAINTEXT", "SASL_SSL") if _asks_more(name, settings.broker_security)]
    said = f"it hung up on {settings.broker_security}"
    if not others:
        return said, "set TIDEGATE_BROKER to Kafka's own port, and see the broker's log"
    expected = " or ".join(others)
    return (
        said,
        f"set TIDEGATE_BROKER_SECURITY to {expected} if it expects that, or TIDEGATE_BROKER to Kafka's own port",
    )


def _asks_more(other: str, security: str) -> bool:
    """Whether a listener of `other` would hang up on a client of `security`."""
    return other != security and all(part not in security or part in other for part in ("SASL", "SSL"))


def _unreachable(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer"
    # asyncio's own loop says "Connect call failed (…)" in place of the reason; where it tried several addresses, no number
    if isinstance(error, OSError) and not isinstance(error, socket.gaierror) and error.errno:
        return os.strerror(error.errno)
    if isinstance(error, socket.gaierror):
        return str(error.strerror)
    return " ".join(str(error).split()) or type(error).__name__


def _protection(settings: Settings) -> dict[str, Any]:
    options: dict[str, Any] = {"security_protocol": settings.broker_security, "ssl_context": tls_context(settings)}
    if settings.uses_login:
        options |= {
            "sasl_mechanism": settings.broker_mechanism,
            "sasl_plain_username": settings.broker_user,
            "sasl_plain_password": settings.broker_password,
        }
    return options


@functools.lru_cache(maxsize=1)
def _context(ca: str, certificate: str, key: str) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=_readable("TIDEGATE_BROKER_CA", ca) or None)
    except ssl.SSLError as error:
        raise _not_pem("TIDEGATE_BROKER_CA", "certificates of authorities", ca, error) from None
    if certificate:
        _readable("TIDEGATE_BROKER_CERTIFICATE", certificate)
        _readable("TIDEGATE_BROKER_KEY", key)
        try:
            context.load_cert_chain(certificate, key or None, _no_password)
        except ssl.SSLError as error:
            raise _not_pem("TIDEGATE_BROKER_CERTIFICATE", "a certificate and its key", certificate, error) from None
    return context


def _no_password() -> str:
    # asked for when the key is encrypted; OpenSSL would otherwise ask whoever sits at the terminal
    raise SettingError(
        "TIDEGATE_BROKER_KEY: expected a key that isn't encrypted, got one with a password: write it without one "
        "(`openssl pkey -in … -out …`) to a file that this user alone may read"
    )


def _readable(variable: str, path: str) -> str:
    if path:
        try:
            Path(path).open("rb").close()
        except OSError as error:
            raise SettingError(
                f"{variable}: expected a file that can be read, got {path!r}: {error.strerror}"
            ) from None
    return path


def _not_pem(variable: str, what: str, path: str, error: ssl.SSLError) -> SettingError:
    said = (error.reason or "no PEM").lower().replace("_", " ")
    return SettingError(f"{variable}: expected a PEM file with {what}, got {path!r}: {said}")
