"""Which hosts may be called, and that what was checked is what is connected to."""

import socket
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from actions.channels import Result
from actions.posting import Answer, Poster
from actions.reach import NotAllowed, Reach

Found = list[dict[str, Any]]


def now_ms() -> int:
    return 0


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "127.8.8.8", "10.1.2.3", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
        "224.0.0.1", "224.0.1.1", "239.255.255.250", "240.0.0.1", "255.255.255.255", "198.18.0.1", "192.0.2.1", "[::1]", "[::]",
        "[fe80::1]", "[fc00::1]", "[ff02::1]", "[::ffff:127.0.0.1]", "[::ffff:10.0.0.1]", "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]", "[2002:a00:1::]", "[2001:0:1:2::1]", "[2001:db8::1]",
    ],
)  # fmt: skip
def test_no_address_of_our_own_network_is_called(host: str) -> None:
    """Private, loopback, link-local (a cloud's metadata), multicast, reserved; also where IPv6 wraps IPv4."""
    with pytest.raises(NotAllowed, match=r"expected a host outside of our own network, got .*TIDEGATE_TARGETS"):
        Reach().check(URL(f"http://{host}:8080/"))
    with pytest.raises(NotAllowed):
        Reach().check_found("shop.example", ["93.184.216.34", host.strip("[]")])


@pytest.mark.parametrize("host", ["93.184.216.34", "[2606:2800:220:1::1]", "[::ffff:93.184.216.34]", "shop.example"])
def test_what_is_the_internets_own_is_called(host: str) -> None:
    Reach().check(URL(f"https://{host}/"))


def test_private_addresses_are_called_where_the_setting_allows_them() -> None:
    Reach(private=True).check(URL("http://10.0.0.1/"))
    Reach(private=True).check_found("crm.internal", ["10.0.0.1"])


@pytest.mark.parametrize(
    ("host", "named"),
    [
        ("crm.shop.example", True), ("CRM.Shop.Example.", True), ("10.0.0.5", True), ("a.hooks.example", True),
        ("a.b.hooks.example", True), ("hooks.example", False), ("evilhooks.example", False), ("shop.example", False),
        ("10.0.0.6", False), ("crm.shop.example.evil.example", False), ("93.184.216.34", False),
    ],
)  # fmt: skip
def test_of_an_allow_list_only_what_it_names_is_called(host: str, named: bool) -> None:
    """And what it names may be in our own network: that is what most lists are for."""
    reach = Reach(("crm.shop.example", "10.0.0.5", "*.hooks.example"))
    if named:
        reach.check(URL(f"http://{host}/"))
        reach.check_found(host, ["10.0.0.5"])
    else:
        with pytest.raises(NotAllowed, match="expected a host that TIDEGATE_TARGETS names, got"):
            reach.check(URL(f"http://{host}/"))


@pytest.mark.parametrize("host", ["localhost", "127.1", "2130706433", "0x7f.0.0.1", "0177.0.0.1"])
async def test_other_ways_to_write_an_address_of_ours_lead_nowhere(host: str) -> None:
    """Those that the client takes for names are looked up, and what is found is checked."""
    poster = Poster(Reach(), now_ms)
    result = await poster.post(f"http://{host}:9/", b"", {})
    await poster.close()

    assert isinstance(result, Result)
    assert (result.code, result.again) == ("refused", False)
    assert "outside of our own network" in str(result.reason) or "not a canonical IPv4 address" in str(result.reason)


async def test_a_name_that_leads_elsewhere_the_second_time_leads_nowhere(
    monkeypatch: pytest.MonkeyPatch, free_port: Callable[[], int]
) -> None:
    """DNS rebinding: the first look-up is answered with an address of the internet's, the second with ours."""
    called, asked = [], []

    async def take(request: web.Request) -> web.Response:
        called.append(request.path)
        return web.Response()

    answers = ["93.184.216.34", "127.0.0.1"]

    async def resolve(self: Any, host: str, port: int = 0, family: int = socket.AF_INET) -> Found:
        asked.append(host)
        address = answers[min(len(asked), len(answers)) - 1]
        return [{"hostname": host, "host": address, "port": port, "family": socket.AF_INET, "proto": 0, "flags": 0}]

    connected = []

    async def connect(self: Any, *args: Any, addr_infos: Any, **kwargs: Any) -> Any:
        connected.extend(info[4][0] for info in addr_infos)
        raise aiohttp.ClientConnectionError("no network in a test")

    application = web.Application()
    application.router.add_post("/", take)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port := free_port()).start()
    monkeypatch.setattr(aiohttp.ThreadedResolver, "resolve", resolve)
    poster = Poster(Reach(), now_ms)
    with monkeypatch.context() as patched:
        patched.setattr(aiohttp.TCPConnector, "_wrap_create_connection", connect)
        first = await poster.post(f"http://shop.example:{port}/", b"", {})
    await poster.close()
    poster = Poster(Reach(), now_ms)
    second = await poster.post(f"http://shop.example:{port}/", b"", {})
    await poster.close()
    allowed = Poster(Reach(private=True), now_ms)
    third = await allowed.post(f"http://shop.example:{port}/", b"", {})
    await allowed.close()
    await runner.cleanup()

    # it is connected to what was checked, by its address; a second look-up is checked as well
    assert (connected, len(asked)) == (["93.184.216.34"], 3)
    assert isinstance(first, Result) and first.code == "retry"
    assert isinstance(second, Result) and second.code == "refused"
    assert "shop.example, which is 127.0.0.1" in str(second.reason)
    # and the receiver would have been there
    assert isinstance(third, Answer) and called == ["/"]
