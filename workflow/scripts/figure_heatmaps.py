"""Draw layer-by-layer heat maps of one metric."""

from hrsa_workflow.job import job

with job(snakemake):
    from hrsa.figures.heatmaps import draw_metric
    from hrsa_workflow.drawing import save_figure
    from hrsa_workflow.tables import SIMILARITY, read

    figure = draw_metric(
        read(snakemake.input.tables, SIMILARITY),
        snakemake.wildcards.metric,
        kinds=snakemake.params.kinds,
        averaged="data sets and seeds",
    )
    save_figure(figure, snakemake)
