"""Draw similarity against the step of contrastive training."""

from hrsa_workflow.job import job

with job(snakemake):
    from hrsa.figures.dynamics import dynamics_curves
    from hrsa_workflow.drawing import save_figure
    from hrsa_workflow.tables import SIMILARITY, read

    table = read(snakemake.input.tables, SIMILARITY)
    save_figure(dynamics_curves(table, final_step=snakemake.params.final_step), snakemake)
