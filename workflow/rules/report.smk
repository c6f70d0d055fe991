# Tables for people, the page, and the last check.


rule tables:
    input:
        unpack(lambda w: products.table_inputs(study)),
    output:
        **products.joined_table_files(study),
    log:
        "<logs>/tables.log",
    benchmark:
        "<timing>/tables.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        labels={
            study.record(name): study.labels(name) for name in study.named(*RECIPES)
        },
        k=study.metric_settings("knn").get("k"),
        exclude=study.metric_settings("neighbours").get("exclude"),
        code=code_version("tables.py"),
    message:
        "Joining the tables"
    script:
        "../scripts/tables.py"


rule reanalysis:
    input:
        **products.published_numbers(),
    output:
        **products.published_table_files(study),
    log:
        "<logs>/reanalysis.log",
    benchmark:
        "<timing>/reanalysis.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=500,
        runtime=5,
    params:
        code=code_version("reanalysis.py"),
    message:
        "Testing the published numbers again"
    script:
        "../scripts/reanalysis.py"


rule claims:
    input:
        claims="workflow/hrsa/reporting/claims.yaml",
        tables=products.claimed_tables(study),
        replicates=products.results_of(study, study.metrics, "h5"),
        records=[
            study.record(name) for name in products.first_references(study).values()
        ],
    output:
        **products.claims_files(study),
    log:
        "<logs>/claims.log",
    benchmark:
        "<timing>/claims.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        k=study.metric_settings("knn").get("k"),
        exclude=study.metric_settings("neighbours").get("exclude"),
        final_step=products.final_step(study),
        pairs=list(products.first_references(study)),
        seed_spread=study.config["claims"]["margins"]["similarity"]["seed_spread"],
        code=code_version("claims.py"),
    message:
        "Testing the claims"
    script:
        "../scripts/claims.py"


rule report:
    input:
        figures=products.figure_files(study),
        tables=products.table_files(study, ["parquet"]).values(),
        statuses=products.statuses(study),
        records=products.outside_records(study),
        made=[study.record(name) for name in study.named(*RECIPES, *VARIANTS)],
        curves=[
            f"{study.folder}/models/{name}/curve.csv" for name in study.named("rlvr")
        ],
        captions=products.caption_files(study),
        templates=products.template_files(),
    output:
        page="<results>/report/index.html",
    log:
        "<logs>/report.log",
    benchmark:
        "<timing>/report.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        curve_labels=[study.labels(name) for name in study.named("rlvr")],
        study=products.facts(study),
        figures=products.figure_titles(study),
        rerun=products.rerun_command(study, configuration_files(workflow)),
        code=code_version("report.py"),
    message:
        "Writing the report"
    script:
        "../scripts/report.py"


rule finish:
    input:
        page="<results>/report/index.html",
        figures=products.figure_files(study),
        tables=products.table_files(study).values(),
        statuses=products.statuses(study),
    output:
        finished="<results>/finished.json",
    log:
        "<logs>/finish.log",
    benchmark:
        "<timing>/finish.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=200,
        runtime=5,
    params:
        study=study.config["study"],
        code=code_version("finish.py"),
    message:
        "Checking that nothing failed"
    script:
        "../scripts/finish.py"
