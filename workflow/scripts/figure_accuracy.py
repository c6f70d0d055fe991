"""Draw the accuracy of the language models before and after training."""

from hrsa_workflow.job import job

with job(snakemake):
    from hrsa.figures.accuracy import accuracy_bars
    from hrsa_workflow.drawing import save_figure
    from hrsa_workflow.tables import ACCURACY, read

    save_figure(accuracy_bars(read(snakemake.input.tables, ACCURACY)), snakemake)
