"""Accuracy of a language model on held-out problems, and how far training moved it."""

import json
from pathlib import Path

from hrsa_workflow.job import job

with job(snakemake):
    from hrsa.models.accuracy import measure_accuracy
    from hrsa.models.dose import kl_to_parent
    from hrsa_workflow.tables import ACCURACY, dose_of_model, typed

    labels, settings = snakemake.params.labels, snakemake.params.settings
    model, problems = Path(snakemake.input.record).parent, Path(snakemake.input.problems)
    accuracy = measure_accuracy(
        model,
        problems,
        style=snakemake.params.style,
        seed=snakemake.params.seed,
        settings=settings,
    )
    typed([accuracy.assign(**labels)], ACCURACY).to_parquet(snakemake.output.table, index=False)

    parent, divergence = snakemake.params.parent, {}
    if parent:
        folder = Path(snakemake.input.parent_record).parent
        for step in (*snakemake.params.steps, None):
            one = model / f"checkpoints/{step}" if step else model
            divergence[step] = kl_to_parent(one, folder, problems, n_texts=settings["problems"])
    record = json.loads(Path(snakemake.input.record).read_text(encoding="utf-8"))
    dose = dose_of_model(record, labels=labels, parent=parent, divergence=divergence)
    dose.to_parquet(snakemake.output.dose, index=False)
