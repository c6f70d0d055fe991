"""Orthogonal Procrustes of one pair: the rotation and how much of it is a permutation."""

from hrsa_workflow.job import job

with job(snakemake):
    from hrsa.similarity.orthogonal_procrustes import procrustes_layers
    from hrsa_workflow.comparison import compare_pair

    compare_pair(
        lambda subject: procrustes_layers(subject.reference, subject.candidate, subject.rows),
        metric="procrustes",
        pair=snakemake.params.pair,
        datasets=snakemake.params.datasets,
        reference=snakemake.input.reference,
        candidate=snakemake.input.candidate,
        output=snakemake.output,
    )
