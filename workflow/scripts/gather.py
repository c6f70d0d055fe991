"""Join the activation files of the parts of a data set."""

from hrsa_workflow.job import job

with job(snakemake):
    from hrsa.activations.shards import join_shards
    from hrsa_workflow.parts import remove_other_parts

    shards, path = snakemake.input.shards, snakemake.output.activations
    join_shards(shards, path, copy=snakemake.params.joined == "copy")
    for file in remove_other_parts(path, shards):
        print(f"removed {file}: the data set has {len(shards)} parts now")
