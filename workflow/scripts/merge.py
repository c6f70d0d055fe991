"""One model made from the weights of two."""

from pathlib import Path

from hrsa_workflow.job import job

with job(snakemake):
    from hrsa.models.merge import merge_models

    merge_models(
        Path(snakemake.input.parent_record).parent,
        Path(snakemake.input.second_record).parent,
        Path(snakemake.output.record).parent,
        method=snakemake.params.method,
        weight=snakemake.params.weight,
    )
