"""What is read from Kafka is not new memory each time."""

import subprocess
import sys

from streams.kafka_log import STATE_ANSWER_BYTES_MAX
from streams.malloc import BLOCK_BYTES_MAX

ANSWERS = 40
# what it is received into, the answer, what is cut out of it, and the one that comes meanwhile
AT_ONCE = 4
PAGE_BYTES = 4096

# the second half of so many: by then there are some to be had again
PROGRAM = f"""
import resource
from streams.malloc import keep_freed
keep_freed()
def read():
    for _ in range({ANSWERS // 2}):
        [b"x" * {STATE_ANSWER_BYTES_MAX} for _ in range({AT_ONCE})]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
before = read()
print(read() - before)
"""


def test_blocks_that_were_freed_are_taken_again() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True)
    of_all_new = ANSWERS // 2 * AT_ONCE * STATE_ANSWER_BYTES_MAX // PAGE_BYTES
    assert int(done.stdout) < of_all_new / 10


def test_an_answer_is_no_larger_than_what_is_kept() -> None:
    # with room for what it grows by while it is received
    assert 2 * STATE_ANSWER_BYTES_MAX < BLOCK_BYTES_MAX
