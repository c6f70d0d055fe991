"""Find the nearest neighbours of every token in one instance and its checkpoints."""

from hrsa_workflow.job import job

with job(snakemake):
    from pathlib import Path

    from hrsa.activations.store import open_activations
    from hrsa.similarity.neighbour_store import compute_neighbours
    from hrsa_workflow.status import Failure, subject_failure

    failures: list[Failure] = []
    for source, target in zip(
        snakemake.input.activations, snakemake.output.neighbours, strict=True
    ):
        # An empty file says that there are none; the pair's own job then records why.
        Path(target).touch()
        with subject_failure(failures, source), open_activations(source) as activations:
            activations.verify()
            compute_neighbours(
                activations,
                Path(target),
                ks=snakemake.params.k,
                exclude=snakemake.params.exclude,
                memory=snakemake.params.memory_mb * 2**20,
            )
