"""Draw the rotations of the final layer and how much of each is a signed permutation."""

from hrsa_workflow.job import job

with job(snakemake):
    from pathlib import Path

    import h5py

    from hrsa.figures.procrustes import procrustes_figure
    from hrsa_workflow.drawing import save_figure
    from hrsa_workflow.tables import SIMILARITY, read

    dataset = snakemake.params.dataset
    rotations = {}
    for path in snakemake.input.arrays:
        pair = Path(path).stem
        name = f"{snakemake.params.pairs[pair]}/{dataset}/rotation"
        with h5py.File(path, "r") as arrays:
            if name in arrays:
                rotations[pair] = arrays[name][:]
    table = read(snakemake.input.tables, SIMILARITY)
    save_figure(procrustes_figure(table, rotations, dataset=dataset), snakemake)
