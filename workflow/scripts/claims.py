"""Test every claim on the study's tables and on the published numbers."""

from hrsa_workflow.job import job

with job(snakemake):
    from pathlib import Path

    import pandas as pd

    from hrsa.reporting.claim_evidence import Evidence
    from hrsa.reporting.claim_list import read_claims
    from hrsa.reporting.claims import claims_table
    from hrsa.reporting.effects import Neighbours
    from hrsa.reporting.replicates import read_checkpoints, read_replicates
    from hrsa.reporting.tables import write_table
    from hrsa.similarity.neighbours import EXCLUSIONS
    from hrsa_workflow.architectures import architecture
    from hrsa_workflow.tables import CLAIMS, typed

    tables = {Path(path).stem: pd.read_parquet(path) for path in snakemake.input.tables}
    replicates = [Path(path) for path in snakemake.input.replicates]
    excluded = snakemake.params.exclude or []
    evidence = Evidence(
        **tables,
        replicates=read_replicates(replicates),
        checkpoints=read_checkpoints(replicates),
        neighbours=Neighbours(
            ks=snakemake.params.k or [],
            exclusions=[name for name in EXCLUSIONS if name in excluded],
        ),
        final_step=snakemake.params.final_step,
        architectures={
            pair: architecture(Path(record))
            for pair, record in zip(snakemake.params.pairs, snakemake.input.records, strict=True)
        },
        seed_spread=snakemake.params.seed_spread,
    )
    table = claims_table(evidence, read_claims(Path(snakemake.input.claims)))
    write_table(typed([table], CLAIMS), Path(snakemake.output.claims_csv))
