"""Join what the jobs wrote into the tables of the study, with floors, Holm's p and effects."""

from hrsa_workflow.job import job

with job(snakemake):
    from pathlib import Path

    from hrsa.benchmarks.aggregation import suite_means
    from hrsa.reporting.doses import doses
    from hrsa.reporting.effects import Neighbours, effects_table
    from hrsa.reporting.floors import with_floors, with_holm
    from hrsa.reporting.replicates import read_replicates
    from hrsa.reporting.split_half import split_half_table
    from hrsa.reporting.tables import collect, write_table
    from hrsa.similarity.neighbours import EXCLUSIONS
    from hrsa_workflow.tables import BENCHMARK_MEANS, EFFECTS, SPLIT_HALF, TABLES, dose_rows, typed

    tables = {}
    for name, columns in TABLES.items():
        parts = [Path(path) for path in snakemake.input.get(name, [])]
        if not parts:
            continue
        table = collect([part for part in parts if part.suffix == ".parquet"], list(columns))
        records = [part for part in parts if part.suffix == ".json"]
        if records:
            trained = dose_rows(records, snakemake.params.labels)
            table = typed([table, trained], columns).sort_values(list(columns), ignore_index=True)
        tables[name] = table
    if "benchmarks" in tables:
        tables["benchmark_means"] = typed([suite_means(tables["benchmarks"])], BENCHMARK_MEANS)
    if "similarity" in tables:
        tables["similarity"] = with_holm(with_floors(tables["similarity"]))
        excluded = snakemake.params.exclude or []
        effects = effects_table(
            tables["similarity"],
            read_replicates(map(Path, snakemake.input.replicates)),
            neighbours=Neighbours(
                ks=snakemake.params.k or [],
                exclusions=[name for name in EXCLUSIONS if name in excluded],
            ),
            doses=doses(tables["dose"]) if "dose" in tables else None,
        )
        effects = typed([effects], EFFECTS).sort_values(list(EFFECTS), ignore_index=True)
        tables["effects"] = effects
        if snakemake.output.get("split_half_csv"):
            halves = split_half_table(tables["similarity"])
            tables["split_half"] = typed([halves], SPLIT_HALF)
    for name, table in tables.items():
        write_table(table, Path(snakemake.output[f"{name}_csv"]))
