"""Linear CKA of one pair, every layer against every layer."""

from hrsa_workflow.job import job

with job(snakemake):
    from hrsa.similarity.cka import cka_layers
    from hrsa_workflow.comparison import compare_pair

    compare_pair(
        snakemake,
        lambda subject: cka_layers(
            subject.reference,
            subject.candidate,
            subject.rows,
            memory=snakemake.params.memory_mb * 2**20,
            **subject.statistics,
        ),
    )
