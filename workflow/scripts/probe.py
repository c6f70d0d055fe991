"""A linear probe fitted on the reference and carried over to the candidate, all layers."""

from hrsa_workflow.job import job

with job(snakemake):
    import pandas as pd

    from hrsa.similarity.probe import probe_layers
    from hrsa_workflow.comparison import compare_pair

    labels = pd.read_parquet(snakemake.input.labels[0], columns=["id", "label", "split"])
    compare_pair(
        snakemake,
        lambda subject: probe_layers(
            subject.reference,
            subject.candidate,
            labels,
            kind=snakemake.params.kind,
            seed=snakemake.params.seed,
            layers=[layer for layer in subject.reference.layers if layer > 0],
            n_permutations=snakemake.params.permutations,
        ),
    )
