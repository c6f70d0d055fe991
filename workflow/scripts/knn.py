"""Overlap of nearest neighbours in one pair, all layers."""

from hrsa_workflow.job import job

with job(snakemake):
    from contextlib import AbstractContextManager, nullcontext
    from pathlib import Path

    from hrsa.similarity.knn import knn_layers
    from hrsa.similarity.neighbour_store import StoredNeighbours, open_neighbours
    from hrsa.similarity.results import LayerComparison
    from hrsa_workflow.comparison import Subject, compare_pair

    def found(path: str, view: str) -> AbstractContextManager[StoredNeighbours | None]:
        """Neighbours found beforehand; None where an empty file says that there are none.

        They are those of the activations as stored: another view has others.
        """
        known = view == "raw" and Path(path).stat().st_size
        return open_neighbours(path) if known else nullcontext()

    def measure(subject: Subject) -> LayerComparison:
        with (
            found(snakemake.input.neighbours_reference[subject.index], subject.view) as reference,
            found(snakemake.input.neighbours_candidate[subject.index], subject.view) as candidate,
        ):
            return knn_layers(
                subject.reference,
                subject.candidate,
                subject.rows,
                ks=snakemake.params.k,
                exclude=snakemake.params.exclude,
                neighbours_reference=reference,
                neighbours_candidate=candidate,
                n_permutations=subject.statistics["n_permutations"],
                seed=subject.statistics["seed"],
            )

    compare_pair(
        snakemake,
        measure,
    )
