"""Extract the activations of one instance and its checkpoints on all data sets."""

from hrsa_workflow.job import job

with job(snakemake):
    from hrsa_workflow.extraction import extract_instance

    extract_instance(
        record=snakemake.input.record,
        datasets=snakemake.input.datasets,
        steps=snakemake.params.steps,
        outputs=snakemake.output.activations,
        settings=snakemake.params.settings,
        seed=snakemake.params.seed,
        code=snakemake.params.code,
    )
