"""What fails alone is written down, and only that."""

import pytest

from hrsa.errors import NotApplicable, UserError
from hrsa_workflow.status import (
    Failure,
    attempt_of,
    read_failures,
    subject_failure,
    write_status,
)


@pytest.mark.parametrize(
    "error", [UserError("no rows\nin common"), ValueError("no  rows in common")]
)
def test_an_error_of_the_subject_is_recorded(error, capsys):
    failures: list[Failure] = []
    with subject_failure(failures, "cka of pair a"):
        raise error
    assert failures == [Failure("cka of pair a", "no rows in common")]
    assert "Traceback" in capsys.readouterr().err


def test_what_does_not_apply_is_recorded_and_not_tried_again(tmp_path, capsys):
    failures: list[Failure] = []
    with subject_failure(failures, "correlation of pair a"):
        raise NotApplicable("widths differ")
    assert [str(failure) for failure in failures] == [
        "correlation of pair a does not apply: widths differ"
    ]
    write_status(tmp_path / "a.json", failures, attempt=1)
    assert read_failures([tmp_path / "a.json"]) == failures
    assert attempt_of(tmp_path / "a.json", retry=True) == 1


@pytest.mark.parametrize("error", [OSError("disk full"), MemoryError(), KeyError("bug")])
def test_a_fault_of_the_machine_or_the_code_is_not(error):
    with pytest.raises(type(error)), subject_failure([], "cka of pair a"):
        raise error


def test_records_are_read_back_in_order(tmp_path):
    paths = [tmp_path / "a.json", tmp_path / "b.json", tmp_path / "c.json"]
    found = [[Failure("x", "why")], [], [Failure("y", "because"), Failure("z", "ä")]]
    for path, failures in zip(paths, found, strict=True):
        write_status(path, failures, attempt=1)
    assert read_failures(paths) == [failure for failures in found for failure in failures]


def test_a_retry_is_another_attempt_of_what_failed_alone(tmp_path):
    bad, good, new = (tmp_path / name for name in ("bad.json", "good.json", "new.json"))
    write_status(bad, [Failure("x", "why")], attempt=2)
    write_status(good, [], attempt=2)
    assert [attempt_of(path, retry=True) for path in (bad, good, new)] == [3, 2, 1]
    assert [attempt_of(path, retry=False) for path in (bad, good, new)] == [2, 2, 1]
