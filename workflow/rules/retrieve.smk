# Texts and models that everything else starts from.


rule corpus:
    output:
        table="<results>/datasets/corpus/{part}.parquet",
    log:
        "<logs>/corpus/{part}.log",
    benchmark:
        "<timing>/corpus/{part}.tsv"
    wildcard_constraints:
        part=any_of(CORPUS_SETTINGS),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        part=lambda w: study.corpus_part([w.part]),
    message:
        "Generating the corpus: {wildcards.part}"
    script:
        "../scripts/corpus.py"


rule dataset:
    input:
        source=lambda w: dataset_files(w.dataset),
    output:
        table="<results>/datasets/{dataset}.parquet",
    log:
        "<logs>/dataset/{dataset}.log",
    benchmark:
        "<timing>/dataset/{dataset}.tsv"
    wildcard_constraints:
        dataset=any_of(study.config["datasets"]),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        part=lambda w: study.dataset_part(w.dataset),
        code=code_version("dataset.py"),
    message:
        "Preparing data set {wildcards.dataset}"
    script:
        "../scripts/dataset.py"


rule training_set:
    input:
        source=lambda w: ancient(training_set_files(study, w.training)),
    output:
        table="<results>/datasets/training/{training}.parquet",
    log:
        "<logs>/training_set/{training}.log",
    benchmark:
        "<timing>/training_set/{training}.tsv"
    wildcard_constraints:
        training=any_of(study.config["training_sets"]),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=8000,
        runtime=240,
    params:
        part=lambda w: source_part(study, w.training),
    message:
        "Preparing training set {wildcards.training}"
    script:
        "../scripts/training_set.py"


rule retrieve:
    output:
        retrieved="resources/models/{repository}/{revision}/retrieved.json",
    log:
        "<logs>/retrieve/{repository}/{revision}.log",
    benchmark:
        "<timing>/retrieve/{repository}/{revision}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=4000,
        runtime=240,
    params:
        source=lambda w: study.hub_sources[
            f"resources/models/{w.repository}/{w.revision}"
        ],
        code=code_version("retrieve.py"),
    message:
        "Downloading {wildcards.repository} at {wildcards.revision}"
    script:
        "../scripts/retrieve.py"


rule materialise:
    input:
        source=lambda w: source_files(w.instance),
        base=lambda w: base_files(w.instance),
    output:
        config="<results>/models/{instance}/config.json",
        record="<results>/models/{instance}/record.json",
    log:
        "<logs>/materialise/{instance}.log",
    benchmark:
        "<timing>/materialise/{instance}.tsv"
    wildcard_constraints:
        instance=any_of(study.named("hub", "path")),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        source=lambda w: study.model_source(w.instance),
        code=code_version("materialise.py"),
    message:
        "Taking in model {wildcards.instance}"
    script:
        "../scripts/materialise.py"
