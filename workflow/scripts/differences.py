"""Test how far apart the models of each pair score on the benchmarks."""

from hrsa_workflow.job import job

with job(snakemake):
    from pathlib import Path

    import pandas as pd

    from hrsa.benchmarks.differences import BenchmarkPair, Couple, Evaluation, differences_table
    from hrsa.reporting.differences import unmatched_items
    from hrsa.reporting.tables import write_table
    from hrsa_workflow.status import Failure, write_status
    from hrsa_workflow.tables import DIFFERENCES, typed

    given, evaluations = snakemake.input, {}
    for name, path, folder in zip(
        snakemake.params.models, given.tables, given.results, strict=True
    ):
        table = pd.read_parquet(path)
        items = {
            (suite, task): Path(folder) / f"{task}.items.parquet"
            for suite, task in zip(table["suite"], table["task"], strict=True)
        }
        known = evaluations.get(name, Evaluation(scores=table.iloc[:0], items={}))
        evaluations[name] = Evaluation(
            scores=pd.concat([known.scores, table], ignore_index=True), items=known.items | items
        )
    pairs = [
        BenchmarkPair(**pair | {"couples": [Couple(**couple) for couple in pair["couples"]]})
        for pair in snakemake.params.pairs
    ]
    table = differences_table(pairs, evaluations, margins=snakemake.params.margins)
    write_table(typed([table], DIFFERENCES), Path(snakemake.output.csv))
    failures = [Failure(subject, reason) for subject, reason in unmatched_items(table).items()]
    write_status(Path(snakemake.output.status), failures, attempt=snakemake.params.attempt)
