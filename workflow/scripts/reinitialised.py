"""The parent's architecture with new random weights."""

from pathlib import Path

from hrsa_workflow.job import job

with job(snakemake):
    from hrsa.models.reinitialised import reinitialise

    reinitialise(
        Path(snakemake.input.parent_record).parent,
        Path(snakemake.output.record).parent,
        seed=snakemake.params.seed,
    )
