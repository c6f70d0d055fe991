"""Write the page: the question, every figure with its caption, the tables, what is missing."""

from hrsa_workflow.job import job

with job(snakemake):
    import json
    from pathlib import Path

    import pandas as pd

    from hrsa.reporting.benchmark_means import means_summary
    from hrsa.reporting.claim_summaries import claims_summary
    from hrsa.reporting.differences import differences_summary, untested_items
    from hrsa.reporting.reanalysis_summaries import (
        alignment_remarks,
        reanalysis_remarks,
        reanalysis_summary,
    )
    from hrsa.reporting.report import FigureEntry, write_report
    from hrsa.reporting.split_half import split_half_summary
    from hrsa.reporting.summaries import (
        accuracy_summary,
        benchmark_summary,
        effects_summary,
        similarity_summary,
    )
    from hrsa.reporting.training import reward_remarks, training_summary
    from hrsa_workflow.page import notes, read_caption
    from hrsa_workflow.status import read_failures
    from hrsa_workflow.tables import read_curves

    summaries = {
        "Accuracy": ("accuracy", accuracy_summary),
        "Similarity at the final layer": ("similarity", similarity_summary),
        "Effects beyond the seed floor": ("effects", effects_summary),
        "Agreement of two halves of the texts": ("split_half", split_half_summary),
        "Benchmarks": ("benchmarks", benchmark_summary),
        "Means over the tasks of a suite": ("benchmark_means", means_summary),
        "Differences between models": ("differences", differences_summary),
        "How far training moved the weights": ("dose", lambda table: table),
        "Published differences, tested for equivalence": ("reanalysis", reanalysis_summary),
        "Published similarities, SFT pairs against RLVR pairs (descriptive)": (
            "published_alignment",
            lambda table: table,
        ),
    }
    figures = Path(snakemake.output.page).parents[1] / "figures"
    tables = {Path(path).stem: path for path in snakemake.input.tables}
    curves = read_curves(snakemake.input.curves, snakemake.params.curve_labels)
    remarks = {
        "reward": reward_remarks(curves),
        "reanalysis": [
            *reanalysis_remarks(pd.read_parquet(tables["reanalysis"])),
            *alignment_remarks(pd.read_parquet(tables["published_alignment"])),
        ],
    }
    made = [json.loads(Path(path).read_text(encoding="utf-8")) for path in snakemake.input.made]
    missing = [str(failure) for failure in read_failures(snakemake.input.statuses)]
    if "differences" in tables:
        untested = untested_items(pd.read_parquet(tables["differences"]))
        missing += [f"{subject}: {reason}" for subject, reason in untested.items()]
    write_report(
        Path(snakemake.output.page),
        study={**snakemake.params.study, "notes": notes(snakemake.input.records)},
        figures=[
            FigureEntry(
                title=entry["title"],
                caption=read_caption(snakemake.input.captions, entry["caption"]),
                png=figures / f"{entry['name']}.png",
                pdf=figures / f"{entry['name']}.pdf",
                remarks=remarks.get(entry["name"], []),
            )
            for entry in snakemake.params.figures
        ],
        tables={
            title: summary(pd.read_parquet(tables[name]))
            for title, (name, summary) in summaries.items()
            if name in tables
        },
        missing=missing,
        rerun=snakemake.params.rerun,
        made=training_summary(made),
        claims=claims_summary(pd.read_parquet(tables["claims"])),
    )
