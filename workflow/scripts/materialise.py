"""Make a model folder of the study from a model that was not trained in it."""

from pathlib import Path

from hrsa_workflow.job import job

with job(snakemake):
    from hrsa.models.loading import is_gguf
    from hrsa.models.retrieve import materialise_path

    def place(files: list[str]) -> Path:
        """The GGUF file, or the folder that the files are of."""
        return Path(files[0]) if is_gguf(files[0]) else Path(files[0]).parent

    source = snakemake.params.source
    materialise_path(
        place(snakemake.input.source),
        Path(snakemake.output.record).parent,
        attention=source.get("attention"),
        source="hub" if "hub" in source else "path",
        base=place(snakemake.input.base) if snakemake.input.base else None,
    )
