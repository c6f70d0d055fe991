"""Prepare a data set: the texts that activations are extracted on."""

from pathlib import Path

from hrsa_workflow.job import job

with job(snakemake):
    from hrsa.data.datasets import load_dataset

    settings = dict(snakemake.params.part["settings"])
    sources = [Path(path) for path in snakemake.input.get("source", [])]
    if "path" in settings:
        settings["path"] = str(sources[0])
    table = load_dataset(
        settings,
        corpus=sources[0].parent if "generator" in settings else None,
        seed=snakemake.params.part["seed"],
    )
    table.to_parquet(snakemake.output.table, index=False)
