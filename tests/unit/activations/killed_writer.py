"""A small file that is written in many commits; as a program, until it is killed or done.

    python killed_writer.py PATH PAUSE [STAGE]

PAUSE is the time in seconds after each commit; at STAGE, a function of the writer, it kills itself.
"""

import os
import signal
import sys
import time
from functools import cache
from pathlib import Path

import numpy as np

from hrsa.activations import journal, writer

LAYERS, WIDTH = (0, 1, 3), 8
N_SAMPLES, LENGTH = 100, 12
N_ROWS = N_SAMPLES * LENGTH


def open_writer(path, *, resume=True, **changes):
    position = np.tile(np.arange(LENGTH), N_SAMPLES)
    tables = {
        "header": {"model": "tiny", "seed": 1, "template": None, "versions": {"numpy": "2"}},
        "samples": [f"sample-{number}" for number in range(N_SAMPLES)],
        "sample_offsets": np.arange(0, N_ROWS + 1, LENGTH),
        "tokens": {
            "id": np.arange(N_ROWS) % 17,
            "position": position,
            "char_start": 2 * position,
            "char_end": 2 * position + 2,
        },
        "layers": LAYERS,
        "width": WIDTH,
        "dtype": "float32",
    }
    return writer.ActivationWriter(path, resume=resume, **(tables | changes))


@cache
def states(layer, width=WIDTH):
    return np.random.default_rng(layer).standard_normal((N_ROWS, width), dtype=np.float32)


@cache
def batches(size=4):
    """Rows of each batch, which are scattered over the file."""
    return np.random.default_rng(9).permutation(N_ROWS).reshape(-1, size)


def write(unfinished, rows):
    for layer, written in unfinished._written.items():
        unfinished.write(layer, rows, states(layer, unfinished._shape[1])[rows])
        assert written[rows].all()
    unfinished.commit(rows)


def write_rest(unfinished, pause=0.0):
    for rows in batches():
        if not unfinished.resumed[rows].all():
            write(unfinished, rows)
            time.sleep(pause)


def run(path, pause=0.0):
    """Write the file, with each commit noted in the journal at once."""
    journal.SYNC_SECONDS = 0
    with open_writer(path) as unfinished:
        write_rest(unfinished, pause)


def _kill(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    path, pause, *stage = sys.argv[1:]
    if not stage:
        journal.SYNC_SECONDS = 0
    elif stage == ["os.replace"]:
        os.replace = _kill
    else:
        assert hasattr(writer, stage[0])
        setattr(writer, stage[0], _kill)
    print("ready", flush=True)
    with open_writer(Path(path)) as unfinished:
        write_rest(unfinished, float(pause))
