"""Generate one file of the corpus: training and test texts of one kind."""

from hrsa_workflow.job import job

with job(snakemake):
    from hrsa.data.corpus import generate_part

    table = generate_part(
        snakemake.wildcards.part,
        seed=snakemake.params.part["seed"],
        settings=snakemake.params.part["settings"],
    )
    table.to_parquet(snakemake.output.table, index=False)
