"""Draw the benchmark scores of every model."""

from hrsa_workflow.job import job

with job(snakemake):
    from hrsa.figures.benchmarks import benchmark_table
    from hrsa_workflow.drawing import save_figure
    from hrsa_workflow.tables import BENCHMARKS, read

    table = read(snakemake.input.tables, BENCHMARKS)
    params = snakemake.params
    fig = benchmark_table(table, kinds=params.kinds, embedding=params.embedding)
    save_figure(fig, snakemake)
