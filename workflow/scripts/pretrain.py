"""Train a language model from scratch."""

from hrsa_workflow.job import job

with job(snakemake):
    from hrsa.models.pretrain import train
    from hrsa_workflow.training import run_recipe

    run_recipe(snakemake, train)
