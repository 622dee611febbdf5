"""Processes of ours: each in a session of its own, logged to a file, and gone when its parent is gone.

Invariant: no child outlives its parent, however the parent ends. A guard of a few lines of shell waits for the
parent's end of a pipe to close, which the kernel does after kill -9 as well. Standard library only.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

STOP_TIMEOUT_S = 20.0

# Waits for end of file on standard input, that is for the parent's end, then ends the process group $1.
GUARD = """
read -r _ || true
kill -TERM -"$1" 2>/dev/null || exit 0
for _ in 1 2 3 4 5 6 7 8 9 10; do sleep 1; kill -0 -"$1" 2>/dev/null || exit 0; done
kill -KILL -"$1" 2>/dev/null
"""


class Child:
    """One process in a session of its own, with its output in a log file; gone when its parent is gone."""

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        log: Path,
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        """Starts it; the log is appended to, a restart keeps what came before. OSError where `argv[0]` is missing."""
        self.name, self.log = name, log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as out:
            self.log_start = out.tell()
            self._process = subprocess.Popen(
                list(argv), stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env, cwd=cwd, start_new_session=True
            )
        self.pid = self._process.pid
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", GUARD, "guard", str(self.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    @property
    def returncode(self) -> int | None:
        """Exit status, negative for a signal; None while it runs."""
        code = self._process.poll()
        if code is not None:
            self._dismiss_guard()
        return code

    @property
    def running(self) -> bool:
        """Whether the process still runs."""
        return self.returncode is None

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """Ends it by SIGTERM, and by SIGKILL if it still runs after the time-out; returns the exit status."""
        self.send(signal.SIGTERM)
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.send(signal.SIGKILL)
        return self._reaped()

    def kill(self) -> int:
        """Ends it by SIGKILL, at once, with its whole process group; returns the exit status."""
        self.send(signal.SIGKILL)
        return self._reaped()

    def send(self, number: signal.Signals) -> None:
        """Signals its process group (SIGSTOP and SIGCONT: a machine that sleeps and wakes); nothing if it has ended."""
        if self.running:
            os.killpg(self.pid, number)

    def output(self) -> str:
        """What it has written since this start, both streams."""
        with self.log.open("rb") as log:
            log.seek(self.log_start)
            return log.read().decode(errors="replace")

    def _reaped(self) -> int:
        code = self._process.wait()
        self._dismiss_guard()
        return code

    def _dismiss_guard(self) -> None:
        # Before our pid can be given to someone else: the guard must not kill a stranger.
        if self._guard.returncode is None:
            self._guard.kill()
            self._guard.communicate()
