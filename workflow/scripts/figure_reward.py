"""Draw the reward during RLVR, and the loss of every training."""

from hrsa_workflow.job import job

with job(snakemake):
    from hrsa.figures.reward import loss_curves, reward_curve
    from hrsa_workflow.drawing import save_figure
    from hrsa_workflow.tables import read_curves

    curves = read_curves(snakemake.input.curves, snakemake.params.labels)
    save_figure(reward_curve(curves), snakemake, prefix="reward_")
    save_figure(loss_curves(curves, kinds=snakemake.params.kinds), snakemake, prefix="losses_")
