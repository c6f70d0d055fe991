"""Prepare a training set from outside: its texts by role."""

from pathlib import Path

from hrsa_workflow.job import job

with job(snakemake):
    from hrsa.data.training_sets import load_training_set

    settings = dict(snakemake.params.part["settings"])
    if "path" in settings:
        settings["path"] = str(Path(snakemake.input.source[0]))
    table = load_training_set(settings, seed=snakemake.params.part["seed"])
    table.to_parquet(snakemake.output.table, index=False)
