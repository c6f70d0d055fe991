"""Overlap of nearest neighbours in one pair, all layers."""

from hrsa_workflow.job import job

with job(snakemake):
    from contextlib import AbstractContextManager, nullcontext
    from pathlib import Path

    from hrsa.similarity.knn import knn_layers
    from hrsa.similarity.neighbours import StoredNeighbours, open_neighbours
    from hrsa.similarity.results import LayerComparison
    from hrsa_workflow.comparison import Subject, compare_pair

    def found(path: str) -> AbstractContextManager[StoredNeighbours | None]:
        """Neighbours found beforehand; None where an empty file says that there are none."""
        return open_neighbours(path) if Path(path).stat().st_size else nullcontext()

    def measure(subject: Subject) -> LayerComparison:
        with (
            found(snakemake.input.neighbours_reference[subject.index]) as reference,
            found(snakemake.input.neighbours_candidate[subject.index]) as candidate,
        ):
            return knn_layers(
                subject.reference,
                subject.candidate,
                subject.rows,
                ks=snakemake.params.k,
                exclude=snakemake.params.exclude,
                neighbours_reference=reference,
                neighbours_candidate=candidate,
            )

    compare_pair(
        snakemake,
        measure,
    )
