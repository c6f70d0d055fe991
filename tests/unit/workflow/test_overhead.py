"""What start-up and scheduling cost is read from when jobs ran."""

import os

import pytest

from hrsa_workflow.overhead import JobTime, idle_seconds, imports_of, job_times


def test_time_in_which_no_job_ran_is_scheduling():
    jobs = [JobTime("a", 0, 4), JobTime("b", 1, 3), JobTime("c", 6, 7), JobTime("d", 7, 9)]
    assert idle_seconds(jobs) == 2


def test_imports_inside_blocks_are_found(tmp_path):
    script = tmp_path / "a.py"
    script.write_text(
        "import json\nwith open('x'):\n    from pathlib import Path\n    print(Path)\n"
    )
    assert imports_of(script) == "import json\nfrom pathlib import Path"


def test_jobs_are_read_from_the_benchmark_files(tmp_path):
    timing = tmp_path / "logs" / "timing"
    for name, end in (("corpus.tsv", 5), ("cka/pair.tsv", 9)):
        file = timing / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("s\th:m:s\n2.5\t0:00:02\n")
        os.utime(file, (end, end))
    found = {job.rule: (job.start, job.end) for job in job_times(tmp_path)}
    assert found == {"corpus": pytest.approx((2.5, 5)), "cka": pytest.approx((6.5, 9))}
