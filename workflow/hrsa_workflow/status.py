"""Status records: which comparisons or evaluations of a job failed, and why.

A job whose own subject fails (a pair that cannot be aligned, a task without data) writes the reason
here and ends well, so that everything else is still made; the last step then fails with the list.
"""

import json
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from hrsa.errors import NotApplicable, UserError


@dataclass(frozen=True)
class Failure:
    """One subject that failed: what it is, in words, and the reason.

    Where ``applies`` is False nothing went wrong: the metric does not apply to the subject.
    """

    subject: str
    reason: str
    applies: bool = True

    def __str__(self) -> str:
        return f"{self.subject}{'' if self.applies else ' does not apply'}: {self.reason}"


@contextmanager
def subject_failure(failures: list[Failure], subject: str) -> Iterator[None]:
    """Turn an error of one subject into an entry of `failures`.

    Only errors about the subject are caught: `UserError` (`NotApplicable` too), and `ValueError`
    for arrays that a metric cannot take. A full disk, missing memory or a fault in the code fail
    the job as usual.
    """
    try:
        yield
    except (UserError, ValueError) as error:
        traceback.print_exc()
        applies = not isinstance(error, NotApplicable)
        failures.append(Failure(subject, " ".join(str(error).split()), applies))


def write_status(path: Path, failures: Iterable[Failure], *, attempt: int) -> None:
    """Write the failures of a job's nth attempt; an empty list says that all went well."""
    content = {"attempt": attempt, "failures": [asdict(failure) for failure in failures]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read_failures(paths: Iterable[Path | str]) -> list[Failure]:
    """Read the failures of several jobs, in the order of the paths."""
    failures = []
    for path in paths:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        failures += [Failure(**entry) for entry in content["failures"]]
    return failures


def attempt_of(path: Path, *, retry: bool) -> int:
    """Which attempt a job is at: the one recorded, or the next if it failed and is to be retried.

    As a parameter of the job it makes the job stale once when a retry is asked for, and not again
    when the study is then run without asking.
    """
    if not path.exists():
        return 1
    content = json.loads(path.read_text(encoding="utf-8"))
    failed = any(failure.get("applies", True) for failure in content["failures"])
    return content["attempt"] + (1 if retry and failed else 0)
