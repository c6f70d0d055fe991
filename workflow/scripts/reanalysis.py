"""Test the published numbers again: equivalence, and how alike SFT and RLVR pairs are."""

from hrsa_workflow.job import job

with job(snakemake):
    from pathlib import Path

    import pandas as pd

    from hrsa.reporting.reanalysis import alignment_by_kind, neighbours_by_kind, reanalyse
    from hrsa.reporting.tables import write_table
    from hrsa_workflow.tables import PUBLISHED_ALIGNMENT, REANALYSIS, typed

    published = snakemake.input
    tested = reanalyse(pd.read_csv(published.table1))
    write_table(typed([tested], REANALYSIS), Path(snakemake.output.reanalysis_csv))
    aligned = [
        alignment_by_kind(pd.read_csv(published.inverse_row_entropy)),
        neighbours_by_kind(pd.read_csv(published.knn_overlap)),
    ]
    alignment = typed(aligned, PUBLISHED_ALIGNMENT)
    write_table(alignment, Path(snakemake.output.published_alignment_csv))
