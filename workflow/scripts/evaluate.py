"""Run the benchmarks on one instance, or on BM25."""

from pathlib import Path

from hrsa_workflow.job import job

with job(snakemake):
    from functools import cache

    from hrsa.benchmarks.evaluate import evaluate, load_reader
    from hrsa_workflow.status import Failure, subject_failure, write_status
    from hrsa_workflow.tables import BENCHMARKS, typed

    labels = snakemake.params.labels
    record = snakemake.input.get("record")
    results = Path(snakemake.output.results)
    results.mkdir(parents=True)
    failures: list[Failure] = []
    rows = []
    # One reader for all tasks, which share texts; loaded where a failure is a task's own.
    read = cache(lambda: load_reader(Path(record).parent if record else "bm25"))
    for task in snakemake.params.tasks:
        with subject_failure(failures, f"{task} of {snakemake.wildcards.instance}"):
            scores = evaluate(
                read(),
                [task],
                corpus=Path(snakemake.input.corpus[0]).parent,
                output=results,
                seeds=[snakemake.params.seed],
                batch_size=64,
            )
            rows.append(scores.assign(**labels))
    typed(rows, BENCHMARKS).to_parquet(snakemake.output.table, index=False)
    write_status(Path(snakemake.output.status), failures, attempt=snakemake.params.attempt)
