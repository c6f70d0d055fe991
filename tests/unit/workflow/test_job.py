"""A job keeps its output in its log, and tells a user's mistake without a traceback."""

import os
from types import SimpleNamespace

import pytest

from hrsa.errors import UserError
from hrsa_workflow.job import job


@pytest.fixture
def snakemake(tmp_path):
    return SimpleNamespace(log=[str(tmp_path / "logs" / "cka.log")], threads=3, rule="cka")


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "1")


def log_of(snakemake):
    with open(snakemake.log[0]) as stream:
        return stream.read()


def test_output_goes_to_the_log_that_of_compiled_code_too(snakemake, capfd):
    with job(snakemake):
        print("from Python")
        os.write(2, b"from compiled code\n")
    assert sorted(log_of(snakemake).splitlines()) == ["from Python", "from compiled code"]
    print("after")
    assert capfd.readouterr().out == "after\n"


def test_threads_are_those_of_the_rule(snakemake):
    with job(snakemake):
        assert os.environ["OMP_NUM_THREADS"] == os.environ["MKL_NUM_THREADS"] == "3"


def test_a_mistake_of_the_user_is_told_without_a_traceback(snakemake, capfd):
    with pytest.raises(SystemExit) as caught, job(snakemake):
        raise UserError("The file x is empty. Give another.")
    assert caught.value.code == 1
    assert log_of(snakemake) == "The file x is empty. Give another.\n"
    assert capfd.readouterr().err == "The file x is empty. Give another.\n"


def test_a_fault_of_the_code_leaves_its_traceback_in_the_log(snakemake, capfd):
    with pytest.raises(SystemExit), job(snakemake):
        raise RuntimeError("a bug")
    assert "RuntimeError: a bug" in log_of(snakemake)
    assert "Traceback" in log_of(snakemake)
    assert capfd.readouterr().err == f"cka failed; see {snakemake.log[0]}\n"
