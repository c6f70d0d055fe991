"""Draw the benchmark scores of every model."""

from hrsa_workflow.job import job

with job(snakemake):
    from hrsa.figures.benchmarks import benchmark_table
    from hrsa_workflow.drawing import save_figure
    from hrsa_workflow.tables import BENCHMARKS, read

    table = read(snakemake.input.tables, BENCHMARKS)
    save_figure(benchmark_table(table, kinds=snakemake.params.kinds), snakemake)
