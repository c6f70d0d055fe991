import os
import subprocess
import sys
from pathlib import Path

import cached_memory
import extraction_memory
import pytest
from peak_memory import SHORT, SHORT_NEIGHBOURS, STATUS, STREAMED, growth

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not STATUS.exists(), reason="reads the peak of a process from /proc"),
]

# glibc keeps what is freed, and how much depends on chance: peaks of one step differed by 5 %, and
# do so by 0.05 % where large blocks go back at once.
FREED_AT_ONCE = {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_ARENA_MAX": "1"}


@pytest.fixture(scope="module")
def peaks(tmp_path_factory):
    """Peak of each metric in kilobytes, at 3 000 and at 60 000 rows."""
    return growth(tmp_path_factory.mktemp("activations"), SHORT, STREAMED)


@pytest.mark.parametrize("metric", STREAMED)
def test_twenty_times_the_rows_take_the_same_memory(metric, peaks):
    small, large = peaks[metric]
    assert large < 1.1 * small


def test_neighbours_among_ten_times_the_rows_take_the_same_memory(tmp_path):
    small, large = growth(tmp_path, SHORT_NEIGHBOURS, ["neighbours"])["neighbours"]
    assert large < 1.1 * small


def test_an_extraction_of_ten_times_the_samples_takes_the_same_memory(tmp_path):
    small, large, size = extraction_memory.growth(tmp_path, extraction_memory.SHORT)
    assert size > 100 * 2**20
    assert (large - small) * 2**10 < 25 * 2**20


def peaks_of_a_step(kind):
    """Peak of a contrastive step in kilobytes, at the smaller and at twice the global batch."""
    done = subprocess.run(
        [sys.executable, str(Path(cached_memory.__file__)), kind],
        env=os.environ | {"OMP_NUM_THREADS": "1"} | FREED_AT_ONCE,
        check=True,
        capture_output=True,
        text=True,
    )
    return tuple(map(int, done.stdout.split()[-2:]))


def test_with_cached_gradients_twice_the_global_batch_takes_the_same_memory():
    small, large = peaks_of_a_step("cached")
    assert large < 1.1 * small
    small, large = peaks_of_a_step("whole")
    assert large > 1.4 * small
