"""Download a model from the Hugging Face hub into the folder that studies share."""

from pathlib import Path

from hrsa_workflow.job import job

with job(snakemake):
    from hrsa.models.retrieve import retrieve

    retrieve(
        snakemake.params.source["hub"],
        snakemake.params.source["revision"],
        Path(snakemake.output.retrieved).parent,
    )
