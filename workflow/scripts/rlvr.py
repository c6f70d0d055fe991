"""Train a language model by reinforcement learning with verifiable rewards."""

from hrsa_workflow.job import job

with job(snakemake):
    from hrsa.models.rlvr import train
    from hrsa_workflow.training import run_recipe

    run_recipe(snakemake, train)
