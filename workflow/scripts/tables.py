"""Join what the jobs wrote into the tables of the study."""

from hrsa_workflow.job import job

with job(snakemake):
    from pathlib import Path

    from hrsa.reporting.tables import collect, write_table
    from hrsa_workflow.tables import TABLES, dose_rows, typed

    for name, columns in TABLES.items():
        parts = [Path(path) for path in snakemake.input.get(name, [])]
        if not parts:
            continue
        table = collect([part for part in parts if part.suffix == ".parquet"], list(columns))
        records = [part for part in parts if part.suffix == ".json"]
        if records:
            trained = dose_rows(records, snakemake.params.labels)
            table = typed([table, trained], columns).sort_values(list(columns), ignore_index=True)
        write_table(table, Path(snakemake.output[f"{name}_csv"]))
