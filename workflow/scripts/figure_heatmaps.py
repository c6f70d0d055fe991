"""Draw layer-by-layer heat maps of one metric."""

from hrsa_workflow.job import job

# Statistic and variant of each metric, the name of its values, and the limits of its colours.
SHOWN = {
    "correlation": ("mean", "", "dimension-wise correlation", -1.0, 1.0),
    "cka": ("cka", "sample_debiased", "linear CKA, debiased over samples", 0.0, 1.0),
}

with job(snakemake):
    from hrsa.figures.frames import heatmap_cells
    from hrsa.figures.heatmaps import layer_heatmaps
    from hrsa_workflow.drawing import save_figure
    from hrsa_workflow.tables import SIMILARITY, read

    metric = snakemake.wildcards.metric
    statistic, variant, label, low, high = SHOWN[metric]
    cells = heatmap_cells(
        read(snakemake.input.tables, SIMILARITY),
        metric=metric,
        statistic=statistic,
        variant=variant,
    )
    figure = layer_heatmaps(
        cells,
        title=f"{label[0].upper()}{label[1:]}, layer by layer",
        colour_label=label,
        low=low,
        high=high,
        subtitle="Rows: layers of the reference. Columns: layers of the candidate. "
        "Means over data sets and seeds.",
        kinds=snakemake.params.kinds,
    )
    save_figure(figure, snakemake)
