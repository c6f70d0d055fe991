"""The parent's weights read with another attention: a model of its own without training."""

from pathlib import Path

from hrsa_workflow.job import job

with job(snakemake):
    from hrsa_workflow.reading import read_otherwise

    read_otherwise(
        Path(snakemake.input.parent_record).parent,
        Path(snakemake.output.record).parent,
        attention=snakemake.params.attention,
    )
