"""Draw how well a probe carries over from the reference to the candidate."""

from hrsa_workflow.job import job

with job(snakemake):
    from hrsa.figures.probe import probe_bars
    from hrsa_workflow.drawing import save_figure
    from hrsa_workflow.tables import SIMILARITY, read

    save_figure(probe_bars(read(snakemake.input.tables, SIMILARITY)), snakemake)
