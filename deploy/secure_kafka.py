"""A Kafka whose listeners ask for TLS, a login, a client's certificate, and that has ACLs: for tests of what operators set.

    with SecureKafka(directory) as kafka:
        kafka.listener("SASL_SSL")  # "127.0.0.1:21034"; its authority's certificate is kafka.authority

Certificates are made on the spot with `openssl` and hold for two days. Standard library only.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from services import Kafka
from tools import HOST, ServiceError

USER = "tidegate"
# with what a Java properties file, a JAAS line and a shell each take for something else left out
PASSWORD = "correct-horse"
SCRAM_PASSWORD = "battery-staple"
# listener: the protocol that it speaks; in the order of the ports after those of every Kafka
_LISTENERS = {
    "SSL": "SSL",
    "MUTUAL": "SSL",
    "SASL_PLAINTEXT": "SASL_PLAINTEXT",
    "SASL_SSL": "SASL_SSL",
}


class SecureKafka(Kafka):
    """Apache Kafka with a listener of each kind, and a plain one for everything else."""

    ports_count = 2 + len(_LISTENERS)

    @property
    def authority(self) -> Path:
        """Certificate (PEM) of the authority that issued the broker's."""
        return self.directory / "authority.pem"

    def listener(self, name: str) -> str:
        """Address of `SSL`, `MUTUAL` (SSL with a client's certificate), `SASL_PLAINTEXT` or `SASL_SSL`."""
        return f"{HOST}:{self.ports[2 + list(_LISTENERS).index(name)]}"

    def _format(self) -> None:
        if not self.authority.exists():
            make_authority(self.directory, "authority")
            key, certificate = issue(self.directory, "authority", "broker", f"IP:{HOST}")
            (self.directory / "broker-store.pem").write_text(key.read_text() + certificate.read_text())
        super()._format()

    def _format_options(self) -> list[str]:
        mechanisms = ("SCRAM-SHA-256", "SCRAM-SHA-512")
        users = [f"{each}=[name={USER},password={SCRAM_PASSWORD}]" for each in mechanisms]
        return [option for user in users for option in ("--add-scram", user)]

    def _properties(self) -> dict[str, str]:
        ports = dict(zip(("BROKER", "CONTROLLER", *_LISTENERS), self.ports, strict=True))
        protocols = {"BROKER": "PLAINTEXT", "CONTROLLER": "PLAINTEXT", **_LISTENERS}
        listeners = ",".join(f"{name}://{HOST}:{port}" for name, port in ports.items())
        properties = {
            "listeners": listeners,
            "advertised.listeners": listeners,
            "listener.security.protocol.map": ",".join(f"{name}:{protocol}" for name, protocol in protocols.items()),
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": "broker-store.pem",
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": "authority.pem",
            "listener.name.mutual.ssl.client.auth": "required",
            "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256",
            # who logs in may do what ACLs say; who doesn't, anything: that is what sets the ACLs up
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
        }
        modules = "org.apache.kafka.common.security"
        for name in ("sasl_plaintext", "sasl_ssl"):
            properties |= {
                f"listener.name.{name}.plain.sasl.jaas.config": (
                    f'{modules}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";'
                ),
                f"listener.name.{name}.scram-sha-256.sasl.jaas.config": f"{modules}.scram.ScramLoginModule required;",
            }
        return properties | super()._properties()


def make_authority(directory: Path, name: str) -> Path:
    """An authority that trusts itself; its certificate. The key is beside it, `<name>.key`."""
    certificate = directory / f"{name}.pem"
    directory.mkdir(parents=True, exist_ok=True)
    extension = ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign"]
    _openssl(
        "req", "-x509", *_NEW_KEY, "-subj", f"/CN={name}", *extension,
        "-keyout", str(directory / f"{name}.key"), "-out", str(certificate),
    )  # fmt: skip
    return certificate


def issue(directory: Path, authority: str, name: str, alternative: str) -> tuple[Path, Path]:
    """A key and a certificate by `authority` for `alternative` (`IP:127.0.0.1`, `DNS:shop`); both PEM."""
    key, certificate = directory / f"{name}.key", directory / f"{name}.pem"
    by = ["-CA", str(directory / f"{authority}.pem"), "-CAkey", str(directory / f"{authority}.key")]
    _openssl(
        "req", "-x509", *_NEW_KEY, "-subj", f"/CN={name}", "-addext", f"subjectAltName={alternative}",
        "-addext", "basicConstraints=critical,CA:FALSE", *by, "-keyout", str(key), "-out", str(certificate),
    )  # fmt: skip
    return key, certificate


_NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]


def _openssl(*arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ServiceError(f"openssl: expected a certificate, got:\n{done.stderr}")
