"""Which hosts may be called: none in our own network, unless the settings say so.

Invariants:
  * What is checked is the address that is connected to: names are looked up here, and the connection is made to what was
    found and to nothing else, so a name that leads elsewhere the second time (DNS rebinding) leads nowhere.
  * A name of which one address is in our own network is not called at all.
"""

import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

# what a translator of protocols makes of an IPv4 address (RFC 6052)
_TRANSLATED: Final = IPv6Network("64:ff9b::/96")


class NotAllowed(OSError):
    """A host that may not be called; the message says which setting would allow it."""


class Reach:
    """Who may be called. `hosts`: those alone, `*.` before a name for all within it; empty: all that are not ours.

    `private`: also addresses that are private, loopback, link-local, multicast or reserved. A host that is named in
    `hosts` may have any address.
    """

    def __init__(self, hosts: tuple[str, ...] = (), *, private: bool = False) -> None:
        self._hosts = tuple(host.lower().rstrip(".") for host in hosts)
        self._private = private

    def check(self, url: URL) -> None:
        """Raises `NotAllowed` where the host of `url` is none that may be called, as far as the name says."""
        host = _plain(url.raw_host or "")
        if self._hosts and not self._is_named(host):
            raise NotAllowed(f"expected a host that TIDEGATE_TARGETS names, got {host}")
        if not self._hosts and _address(host) is not None:
            self._check_address(host, host)

    def check_found(self, host: str, addresses: list[str]) -> None:
        """Raises `NotAllowed` where one of the addresses that were found for `host` may not be connected to."""
        if self._is_named(_plain(host)):
            return
        for address in addresses:
            self._check_address(host, address)

    def _is_named(self, host: str) -> bool:
        return any(host == named or (named[:2] == "*." and host.endswith(named[1:])) for named in self._hosts)

    def _check_address(self, host: str, found: str) -> None:
        address = _address(found)
        if self._private or (address is not None and is_public(address)):
            return
        where = host if host == found else f"{host}, which is {found}"
        raise NotAllowed(
            f"expected a host outside of our own network, got {where}: "
            "name it in TIDEGATE_TARGETS or set TIDEGATE_TARGETS_PRIVATE=allow"
        )


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address is one of the internet's own: not private, loopback, link-local, multicast or reserved."""
    inner = _inner(address)
    if inner is not None:
        return is_public(inner)
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def _inner(address: IPv4Address | IPv6Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 address stands for."""
    if isinstance(address, IPv4Address):
        return None
    if address in _TRANSLATED:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


def _plain(host: str) -> str:
    return host.lower().rstrip(".").strip("[]")


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text.partition("%")[0])
    except ValueError:
        return None


class CheckedResolver(AbstractResolver):
    """Looks names up and hands out none whose addresses may not be connected to."""

    def __init__(self, reach: Reach) -> None:
        self._reach, self._resolver = reach, aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of `host`; raises `NotAllowed`."""
        found = await self._resolver.resolve(host, port, family)
        self._reach.check_found(host, [result["host"] for result in found])
        return found

    async def close(self) -> None:
        """Nothing is kept open."""
        await self._resolver.close()
