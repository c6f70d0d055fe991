"""Make a model folder of the study from a model that was not trained in it."""

from pathlib import Path

from hrsa_workflow.job import job

with job(snakemake):
    from hrsa.models.loading import is_gguf
    from hrsa.models.retrieve import materialise_path

    source = snakemake.params.source
    first = Path(snakemake.input.source[0])
    materialise_path(
        first if is_gguf(first) else first.parent,
        Path(snakemake.output.record).parent,
        attention=source.get("attention"),
        source="hub" if "hub" in source else "path",
    )
