"""Accuracy of a language model on held-out problems, and how far training moved it."""

import json
from pathlib import Path

from hrsa_workflow.job import job

# How a model of each recipe writes its answers.
STYLES = {"sft": "trace"}

with job(snakemake):
    import pandas as pd

    from hrsa.models.accuracy import measure_accuracy
    from hrsa.models.dose import kl_to_parent
    from hrsa_workflow.tables import ACCURACY, DOSE, typed

    labels = snakemake.params.labels
    model, problems = Path(snakemake.input.record).parent, Path(snakemake.input.problems)
    accuracy = measure_accuracy(
        model,
        problems,
        style=STYLES.get(labels["recipe"], "solution"),
        seed=snakemake.params.seed,
        settings=snakemake.params.settings,
    )
    typed([accuracy.assign(**labels)], ACCURACY).to_parquet(snakemake.output.table, index=False)

    record = json.loads(Path(snakemake.input.record).read_text(encoding="utf-8"))
    dose = {name: record[name] for name in ("relative_weight_change", "train_tokens")}
    if snakemake.params.parent:
        parent = Path(snakemake.input.parent_record).parent
        dose |= kl_to_parent(model, parent, problems, n_texts=snakemake.params.settings["problems"])
    row = pd.DataFrame([{**labels, "parent": snakemake.params.parent, **dose}])
    typed([row], DOSE).to_parquet(snakemake.output.dose, index=False)
