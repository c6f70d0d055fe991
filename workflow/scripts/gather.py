"""Join the activation files of the parts of a data set."""

from hrsa_workflow.job import job

with job(snakemake):
    from hrsa.activations.shards import join_shards

    join_shards(snakemake.input.shards, snakemake.output.activations)
