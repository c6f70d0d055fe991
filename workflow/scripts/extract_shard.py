"""Extract the activations of one model on one part of a data set."""

from hrsa_workflow.job import job

with job(snakemake):
    from hrsa_workflow.extraction import extract_shard

    step = snakemake.wildcards.step.removeprefix("@")
    extract_shard(
        record=snakemake.input.record,
        dataset=snakemake.input.dataset,
        step=int(step) if step else None,
        output=snakemake.output.activations,
        shard=int(snakemake.wildcards.shard),
        n_shards=snakemake.params.n_shards,
        settings=snakemake.params.settings,
        seed=snakemake.params.seed,
        code=snakemake.params.code_of_whole,
    )
