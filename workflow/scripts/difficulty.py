"""Try problems with the model that is to be trained on them; mark what it solves sometimes."""

from pathlib import Path

from hrsa_workflow.job import job

with job(snakemake):
    from hrsa.models.difficulty import measure_difficulty

    settings = snakemake.params.settings
    table = measure_difficulty(
        Path(snakemake.input.parent_record).parent,
        Path(snakemake.input.problems),
        seed=snakemake.params.seed,
        n_problems=settings["problems"],
        settings=settings,
    )
    table.to_parquet(snakemake.output.table, index=False)
    table.to_csv(snakemake.output.readable, index=False)
