"""Draw the differences of the benchmark scores with their intervals, against the margins."""

from hrsa_workflow.job import job

with job(snakemake):
    import pandas as pd

    from hrsa.figures.differences import forest_of_pairs
    from hrsa_workflow.drawing import save_figure

    save_figure(forest_of_pairs(pd.read_parquet(snakemake.input.table)), snakemake)
