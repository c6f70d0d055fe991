"""Dimension-wise correlation of one pair, all layers."""

from hrsa_workflow.job import job

with job(snakemake):
    from hrsa.similarity.correlation import correlation_layers
    from hrsa_workflow.comparison import compare_pair

    compare_pair(
        snakemake,
        lambda subject: correlation_layers(
            subject.reference,
            subject.candidate,
            subject.rows,
            memory=snakemake.params.memory_mb * 2**20,
            **subject.statistics,
        ),
    )
