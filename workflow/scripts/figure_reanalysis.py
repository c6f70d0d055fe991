"""Draw the published differences with their intervals, against the margins of equivalence."""

from hrsa_workflow.job import job

with job(snakemake):
    import pandas as pd

    from hrsa.figures.reanalysis import forest_plot
    from hrsa_workflow.drawing import save_figure

    save_figure(forest_plot(pd.read_parquet(snakemake.input.table)), snakemake)
