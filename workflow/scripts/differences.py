"""Test how far apart the models of each pair score on the benchmarks."""

from hrsa_workflow.job import job

with job(snakemake):
    from pathlib import Path

    import pandas as pd

    from hrsa.benchmarks.differences import BenchmarkPair, Couple, Evaluation, differences_table
    from hrsa.reporting.tables import write_table
    from hrsa_workflow.tables import DIFFERENCES, typed

    names, given = snakemake.params.models, snakemake.input
    evaluations = {
        name: Evaluation(scores=pd.read_parquet(table), items=Path(folder))
        for name, table, folder in zip(names, given.tables, given.results, strict=True)
    }
    pairs = [
        BenchmarkPair(**pair | {"couples": [Couple(**couple) for couple in pair["couples"]]})
        for pair in snakemake.params.pairs
    ]
    table = differences_table(pairs, evaluations, margins=snakemake.params.margins)
    write_table(typed([table], DIFFERENCES), Path(snakemake.output.csv))
