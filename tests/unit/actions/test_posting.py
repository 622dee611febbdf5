"""One POST, whatever comes back: nothing, an error of TLS, another address, a body without end."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from actions.channels import Result
from actions.posting import RESPONSE_BYTES_MAX, WHOLE_BYTES_MAX, Answer, Poster, result_of
from actions.reach import Reach

Serve = Callable[..., Any]
SECRET = "very-secret"


@pytest.fixture
async def poster() -> AsyncIterator[Poster]:
    made = Poster(Reach(private=True), lambda: 0)
    yield made
    await made.close()


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Answers each connection with the given bytes, over and over with `endless`; returns the address."""
    servers = []

    async def start(answer: bytes, *, endless: bool = False, tls: ssl.SSLContext | None = None) -> str:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(answer)
                while endless:
                    writer.write(b"x" * 65536)
                    await writer.drain()
            except (ConnectionError, asyncio.IncompleteReadError):
                pass
            finally:
                writer.close()

        servers.append(await asyncio.start_server(talk, "127.0.0.1", 0, ssl=tls))
        return f"127.0.0.1:{servers[-1].sockets[0].getsockname()[1]}"

    yield start
    for server in servers:
        server.close()


async def test_a_certificate_that_nobody_trusts_is_for_later(
    poster: Poster, serve: Serve, certificate: tuple[Path, ssl.SSLContext]
) -> None:
    """It may be put right; what was sent stays unsent, and the sentence says why."""
    where = await serve(b"", tls=certificate[1])
    result = await poster.post(f"https://{where}/{SECRET}", b"", {}, hidden=True)

    assert isinstance(result, Result)
    assert (result.code, result.again) == ("retry", True)
    assert str(result.reason).startswith("expected an answer, got a certificate that can't be trusted: self-signed")
    assert SECRET not in str(result.reason)


@pytest.mark.parametrize("answer", [b"", b"not HTTP at all\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"])
async def test_an_answer_that_is_none_is_for_later(poster: Poster, serve: Serve, answer: bytes) -> None:
    result = await poster.post(f"http://{await serve(answer)}/{SECRET}", b"", {}, hidden=True)

    assert isinstance(result, Result)
    assert (result.code, result.again) == ("retry", True)
    assert SECRET not in str(result.reason)
    assert "expected an answer, got" in str(result.reason) and ("not HTTP" in str(result.reason)) is bool(answer)


async def test_what_a_receiver_says_can_do_nothing_to_a_terminal(poster: Poster, serve: Serve) -> None:
    """Reasons are printed by `tidegate deliveries list`."""
    where = await serve(b"HTTP/1.1 400 No\r\n\r\n\x1b[2Jgone\x00")
    answer = await poster.post(f"http://{where}/", b"", {})

    assert isinstance(answer, Answer)
    assert result_of(answer).reason == "expected 2xx, got 400: [2Jgone"


@pytest.mark.parametrize("whole", [False, True])
async def test_of_a_body_without_end_a_bounded_part_is_read(poster: Poster, serve: Serve, whole: bool) -> None:
    where = await serve(b"HTTP/1.1 400 No\r\n\r\n", endless=True)
    async with asyncio.timeout(5):
        answer = await poster.post(f"http://{where}/", b"", {}, whole=whole)

    assert isinstance(answer, Answer)
    assert len(answer.start) <= (WHOLE_BYTES_MAX if whole else RESPONSE_BYTES_MAX)


async def test_a_redirect_into_our_own_network_is_an_answer_and_no_more(poster: Poster, serve: Serve) -> None:
    inside = await serve(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    where = await serve(f"HTTP/1.1 307 There\r\nLocation: http://{inside}/\r\nContent-Length: 0\r\n\r\n".encode())
    answer = await poster.post(f"http://{where}/", b"", {})

    assert isinstance(answer, Answer)
    assert (answer.status, answer.sent, answer.again) == (307, False, False)


@pytest.mark.parametrize("hidden", [False, True])
async def test_a_url_that_can_not_be_called_is_final_and_quoted_only_where_it_is_no_secret(
    poster: Poster, hidden: bool
) -> None:
    result = await poster.post(f"http://[::1/{SECRET}", b"", {}, hidden=hidden)

    assert isinstance(result, Result)
    assert (result.code, result.again) == ("refused", False)
    assert str(result.reason).startswith("expected a URL that can be called")
    assert not (hidden and SECRET in str(result.reason))
