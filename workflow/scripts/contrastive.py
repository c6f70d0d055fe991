"""Train a language model into an embedding model."""

from hrsa_workflow.job import job

with job(snakemake):
    from hrsa.models.contrastive import train
    from hrsa_workflow.training import run_recipe

    run_recipe(snakemake, train)
