"""Train a control: as many steps and tokens as another model, on plain text."""

from hrsa_workflow.job import job

with job(snakemake):
    from hrsa.models.continued import train
    from hrsa_workflow.training import run_recipe

    run_recipe(snakemake, train)
