"""What every script is wrapped in: its log, its threads, and how it reports a user's mistake."""

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from hrsa.errors import UserError

THREAD_VARIABLES = (
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"),
    "VECLIB_MAXIMUM_THREADS",
)


@contextmanager
def job(snakemake: Any) -> Iterator[None]:
    """Run a script's body: output to its log, and a `UserError` as a paragraph, not a traceback.

    Import numpy, torch and whatever imports them inside the `with` block: the number of threads
    is fixed when they are loaded.

    Parameters
    ----------
    snakemake
        The object that Snakemake hands to a script.
    """
    _limit_threads(snakemake.threads)
    with _output_to(Path(snakemake.log[0])) as terminal:
        try:
            yield
        except UserError as error:
            print(error, flush=True)
            print(error, file=terminal, flush=True)
            raise SystemExit(1) from None
        except Exception:
            traceback.print_exc()
            print(f"{snakemake.rule} failed; see {snakemake.log[0]}", file=terminal, flush=True)
            raise SystemExit(1) from None


def _limit_threads(threads: int) -> None:
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
    # The tokenizers' own threads would come on top, and warn after each fork.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@contextmanager
def _output_to(log: Path) -> Iterator[Any]:
    """Send stdout and stderr, those of compiled code too, to the log; give back the terminal."""
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    saved = [os.dup(1), os.dup(2)]
    with log.open("w", buffering=1) as stream, os.fdopen(os.dup(2), "w") as terminal:
        for descriptor in (1, 2):
            os.dup2(stream.fileno(), descriptor)
        try:
            with redirect_stdout(stream), redirect_stderr(stream):
                yield terminal
        finally:
            for descriptor, copy in zip((1, 2), saved, strict=True):
                os.dup2(copy, descriptor)
                os.close(copy)
