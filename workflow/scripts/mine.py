"""Find hard negatives for a training set of pairs."""

from pathlib import Path

from hrsa_workflow.job import job

with job(snakemake):
    import pandas as pd

    from hrsa.models.hard_negatives import load_miner, mine

    mined = mine(
        load_miner(Path(snakemake.input.miner_record).parent),
        pd.read_parquet(snakemake.input.pairs),
        name=snakemake.wildcards.training,
        **snakemake.params.settings,
    )
    mined.to_parquet(snakemake.output.table, index=False)
