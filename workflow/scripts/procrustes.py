"""Orthogonal Procrustes of one pair: the rotation and how much of it is a permutation."""

from hrsa_workflow.job import job

with job(snakemake):
    from hrsa.similarity.orthogonal_procrustes import procrustes_layers
    from hrsa_workflow.comparison import compare_pair

    compare_pair(
        snakemake,
        lambda subject: procrustes_layers(
            subject.reference,
            subject.candidate,
            subject.rows,
            memory=snakemake.params.memory_mb * 2**20,
            **subject.statistics,
        ),
    )
