"""Closing a TLS connection takes no longer than is stated, whatever the other end does."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams import loop

WITHIN_S = 5.0


@pytest.fixture
def silent(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """Port of a server that shakes hands and then says nothing any more, not even good-bye; and its certificate."""
    key, made = tmp_path / "key.pem", tmp_path / "certificate.pem"
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    argv += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(made)]
    subprocess.run(argv, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made, key)
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with context.wrap_socket(connection, server_side=True):
                over.wait(60)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listening.getsockname()[1], made
        over.set()
        thread.join()


def test_a_connection_is_closed_soon_where_the_other_end_says_no_good_bye(silent: tuple[int, Path]) -> None:
    """uvloop waits for half a minute."""
    port, certificate = silent
    context = ssl.create_default_context(cafile=str(certificate))

    async def open_and_close() -> float:
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        started_s = time.monotonic()
        writer.close()
        try:
            await writer.wait_closed()
        except TimeoutError:
            pass  # what uvloop calls a good-bye that didn't come
        return time.monotonic() - started_s

    assert loop.run(open_and_close()) < WITHIN_S


def test_loops_made_in_any_way_are_of_this_kind() -> None:
    """The consumer's thread makes one of its own."""
    before = asyncio.get_event_loop_policy()
    try:
        loop.install()
        made = asyncio.new_event_loop()
        made.close()
    finally:
        asyncio.set_event_loop_policy(before)

    assert isinstance(made, loop.Loop)
