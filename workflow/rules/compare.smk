# One rule per metric, one job per metric and pair: all its seeds, checkpoints, data sets and layers.
# Neighbours are found once per instance. A comparison that fails leaves its reason in the status
# record (.json) and costs only itself.

for steps, instances in study.schedules.items():

    rule:
        name:
            rule_name("neighbours", steps)
        input:
            activations=expand(
                "<results>/activations/{{instance}}{step}/{dataset}.h5",
                step=suffixes(steps),
                dataset=study.datasets_for("knn"),
            ),
        output:
            neighbours=expand(
                "<results>/similarity/neighbours/{{instance}}{step}/{dataset}.h5",
                step=suffixes(steps),
                dataset=study.datasets_for("knn"),
            ),
        log:
            "<logs>/neighbours/{instance}.log",
        benchmark:
            "<timing>/neighbours/{instance}.tsv"
        wildcard_constraints:
            instance=any_of(instances),
        priority: PRIORITY["neighbours"]
        conda:
            ENVIRONMENT
        threads: 1
        resources:
            mem_mb=4000,
            runtime=120,
        params:
            k=study.metric_settings("knn").get("k"),
            exclude=study.metric_settings("neighbours").get("exclude"),
            memory_mb=study.config["memory_mb"],
            code=code_version("neighbours.py"),
        message:
            "Finding nearest neighbours in {wildcards.instance}"
        script:
            "../scripts/neighbours.py"


rule correlation:
    input:
        unpack(lambda w: study.compared(w.pair, "correlation")),
    output:
        table="<results>/similarity/correlation/{pair}.parquet",
        arrays="<results>/similarity/correlation/{pair}.h5",
        status="<results>/similarity/correlation/{pair}.json",
    log:
        "<logs>/correlation/{pair}.log",
    benchmark:
        "<timing>/correlation/{pair}.tsv"
    wildcard_constraints:
        pair=any_of(study.pairs),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        pair=lambda w: study.pair_settings(w.pair),
        attempt=lambda w: attempts[
            f"{study.folder}/similarity/correlation/{w.pair}.json"
        ],
        datasets=study.datasets_for("correlation"),
        views=study.metric_settings("correlation").get("views"),
        statistics=study.statistics,
        memory_mb=study.config["memory_mb"],
        code=code_version("correlation.py"),
    message:
        "Correlating dimensions: {wildcards.pair}"
    script:
        "../scripts/correlation.py"


rule procrustes:
    input:
        unpack(lambda w: study.compared(w.pair, "procrustes")),
    output:
        table="<results>/similarity/procrustes/{pair}.parquet",
        arrays="<results>/similarity/procrustes/{pair}.h5",
        status="<results>/similarity/procrustes/{pair}.json",
    log:
        "<logs>/procrustes/{pair}.log",
    benchmark:
        "<timing>/procrustes/{pair}.tsv"
    wildcard_constraints:
        pair=any_of(study.pairs),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        pair=lambda w: study.pair_settings(w.pair),
        attempt=lambda w: attempts[
            f"{study.folder}/similarity/procrustes/{w.pair}.json"
        ],
        datasets=study.datasets_for("procrustes"),
        views=study.metric_settings("procrustes").get("views"),
        statistics=study.statistics,
        memory_mb=study.config["memory_mb"],
        code=code_version("procrustes.py"),
    message:
        "Rotating one model onto the other: {wildcards.pair}"
    script:
        "../scripts/procrustes.py"


rule cka:
    input:
        unpack(lambda w: study.compared(w.pair, "cka")),
    output:
        table="<results>/similarity/cka/{pair}.parquet",
        arrays="<results>/similarity/cka/{pair}.h5",
        status="<results>/similarity/cka/{pair}.json",
    log:
        "<logs>/cka/{pair}.log",
    benchmark:
        "<timing>/cka/{pair}.tsv"
    wildcard_constraints:
        pair=any_of(study.pairs),
    priority: PRIORITY["compare"]
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        pair=lambda w: study.pair_settings(w.pair),
        attempt=lambda w: attempts[f"{study.folder}/similarity/cka/{w.pair}.json"],
        datasets=study.datasets_for("cka"),
        views=study.metric_settings("cka").get("views"),
        statistics=study.statistics,
        memory_mb=study.config["memory_mb"],
        code=code_version("cka.py"),
    message:
        "Comparing geometry by linear CKA: {wildcards.pair}"
    script:
        "../scripts/cka.py"


rule knn:
    input:
        unpack(lambda w: study.compared(w.pair, "knn")),
        unpack(lambda w: study.neighbours(w.pair)),
    output:
        table="<results>/similarity/knn/{pair}.parquet",
        arrays="<results>/similarity/knn/{pair}.h5",
        status="<results>/similarity/knn/{pair}.json",
    log:
        "<logs>/knn/{pair}.log",
    benchmark:
        "<timing>/knn/{pair}.tsv"
    wildcard_constraints:
        pair=any_of(study.pairs),
    priority: PRIORITY["compare"]
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        pair=lambda w: study.pair_settings(w.pair),
        attempt=lambda w: attempts[f"{study.folder}/similarity/knn/{w.pair}.json"],
        datasets=study.datasets_for("knn"),
        views=study.metric_settings("knn").get("views"),
        statistics=study.statistics,
        k=study.metric_settings("knn").get("k"),
        exclude=study.metric_settings("neighbours").get("exclude"),
        code=code_version("knn.py"),
    message:
        "Comparing nearest neighbours: {wildcards.pair}"
    script:
        "../scripts/knn.py"


rule probe:
    input:
        unpack(lambda w: study.compared(w.pair, "probe")),
        labels=expand(
            "<results>/datasets/{dataset}.parquet", dataset=study.datasets_for("probe")
        ),
    output:
        table="<results>/similarity/probe/{pair}.parquet",
        arrays="<results>/similarity/probe/{pair}.h5",
        status="<results>/similarity/probe/{pair}.json",
    log:
        "<logs>/probe/{pair}.log",
    benchmark:
        "<timing>/probe/{pair}.tsv"
    wildcard_constraints:
        pair=any_of(study.pairs),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        pair=lambda w: study.pair_settings(w.pair),
        attempt=lambda w: attempts[f"{study.folder}/similarity/probe/{w.pair}.json"],
        datasets=study.datasets_for("probe"),
        kind=study.metric_settings("probe").get("kind"),
        permutations=study.statistics["n_permutations"],
        seed=study.config["seed"],
        code=code_version("probe.py"),
    message:
        "Carrying a linear probe over: {wildcards.pair}"
    script:
        "../scripts/probe.py"
