"""Draw the overlap of nearest neighbours over layers."""

from hrsa_workflow.job import job

with job(snakemake):
    from hrsa.figures.knn import knn_curves
    from hrsa_workflow.drawing import save_figure
    from hrsa_workflow.tables import SIMILARITY, read

    figure = knn_curves(
        read(snakemake.input.tables, SIMILARITY),
        variant=snakemake.params.variant,
        kinds=snakemake.params.kinds,
    )
    save_figure(figure, snakemake)
