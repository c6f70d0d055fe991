"""Two clean runs on one machine give byte-equal tables."""

import pytest

pytestmark = pytest.mark.slow


def test_two_clean_runs_give_equal_tables(finished, fresh):
    fresh.snakemake()
    tables = "results/small/tables"
    names = sorted(path.name for path in (finished.path / tables).iterdir())
    assert [name for name in names if name.endswith(".csv")] == [
        "accuracy.csv",
        "benchmark_means.csv",
        "benchmarks.csv",
        "claims.csv",
        "differences.csv",
        "dose.csv",
        "effects.csv",
        "published_alignment.csv",
        "reanalysis.csv",
        "similarity.csv",
    ]
    for name in names:
        first, second = (one.path / tables / name for one in (finished, fresh))
        assert first.read_bytes() == second.read_bytes(), name
