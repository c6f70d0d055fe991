"""Generate every training and test text of the study."""

from pathlib import Path

from hrsa_workflow.job import job

with job(snakemake):
    from hrsa.data.corpus import write_corpus

    write_corpus(
        Path(snakemake.output.problems).parent,
        seed=snakemake.params.seed,
        sizes=snakemake.params.sizes,
    )
