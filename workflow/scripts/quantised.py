"""The parent's weights read through a quantisation."""

from pathlib import Path

from hrsa_workflow.job import job

with job(snakemake):
    from hrsa.models.quantised import quantise

    quantise(
        Path(snakemake.input.parent_record).parent,
        Path(snakemake.output.record).parent,
        type=snakemake.params.type,
    )
