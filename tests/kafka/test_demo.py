"""The demo is the first thing that people run: it must go through, and break with a sentence."""

import subprocess
from pathlib import Path

import pytest

DEMO = Path(__file__).resolve().parents[2] / "deploy" / "demo"

pytestmark = pytest.mark.kafka


def test_the_demo_goes_through_and_says_what_it_has_seen() -> None:
    """A part of the year is enough: the same processes, the same comparison, the same story."""
    done = subprocess.run([str(DEMO), "--events", "6000"], capture_output=True, text=True, timeout=170)

    said = " ".join(done.stdout.split())
    assert done.returncode == 0, done.stdout + done.stderr
    for expected in (
        "says the very same",
        "history messages nobody",
        "entered abandoned-cart 5.000 s",
        "worker and dispatcher are killed",
        "165 messages received (76 mails, else webhooks), each once",
        "entered 61, held out 10, stopped 26, led through 25, first mails sent 51, second mails sent 25",
        "51% of 51 reminded, 20% of 10 held out",
        "entered signed-up",
        "156 payloads of 8 vendors, as they published them: each in Kafka when it was answered",
        "entered on-trial: readable",
        "one byte changed after signing: 401",
        "0 acknowledged calls lost",
    ):
        assert expected in said, said
