"""Run a group of benchmark tasks on one instance, or on BM25."""

from pathlib import Path

from hrsa_workflow.job import job

with job(snakemake):
    from hrsa_workflow.evaluation import evaluate_group

    evaluate_group(
        instance=snakemake.wildcards.instance,
        record=snakemake.input.get("record"),
        corpus=snakemake.input.get("corpus", []),
        prompts=snakemake.input.get("prompts"),
        results=Path(snakemake.output.results),
        table=Path(snakemake.output.table),
        status=Path(snakemake.output.status),
        group=snakemake.params.group,
        labels=snakemake.params.labels,
        settings=snakemake.params.settings,
        data=snakemake.params.data,
        attempt=snakemake.params.attempt,
        result_code=snakemake.params.result_code,
    )
