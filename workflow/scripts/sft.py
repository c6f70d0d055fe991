"""Fine-tune a language model on distilled-style reasoning traces."""

from hrsa_workflow.job import job

with job(snakemake):
    from hrsa.models.sft import train
    from hrsa_workflow.training import run_recipe

    run_recipe(snakemake, train)
