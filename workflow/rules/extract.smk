# Hidden states of every instance and its checkpoints on all data sets: one job per instance. A rule
# has a fixed number of outputs, so there is one rule per distinct list of checkpoints. Outputs are
# updated in place: a file whose header is still right is kept, so that a new data set or checkpoint
# costs only its own extraction.

for steps, instances in (study.schedules.items() if study.whole_datasets else ()):

    rule:
        name:
            rule_name("extract", steps)
        input:
            unpack(lambda w: model_files(w.instance)),
            datasets=expand(
                "<results>/datasets/{dataset}.parquet", dataset=study.whole_datasets
            ),
        output:
            activations=update(
                expand(
                    "<results>/activations/{{instance}}{step}/{dataset}.h5",
                    step=suffixes(steps),
                    dataset=study.whole_datasets,
                )
            ),
        log:
            "<logs>/extract/{instance}.log",
        benchmark:
            "<timing>/extract/{instance}.tsv"
        wildcard_constraints:
            instance=any_of(instances),
        priority: PRIORITY["extract"]
        conda:
            ENVIRONMENT
        threads: 1
        resources:
            mem_mb=lambda w: asked.mem_mb("extract", w.instance, 8000),
            runtime=240,
            gpu=1,
        params:
            settings=study.extraction_settings,
            steps=list(steps),
            datasets=study.dataset_parts(study.whole_datasets),
            seed=study.config["seed"],
            code=code_version("extract.py"),
        message:
            "Extracting activations of {wildcards.instance}"
        script:
            "../scripts/extract.py"


# A large data set is extracted in consecutive parts, on as many machines as there are, and joined:
# the joined file's layers are views of the parts' (HDF5 virtual data sets), or copies. A part is kept
# like a whole file is, and stays after a copy: were it temporary, a change of its settings would go
# unseen until something else asked for it.
SHARDED = dict(
    instance=any_of(one for some in study.schedules.values() for one in some),
    step="(@[0-9]+)?",
    dataset=any_of(study.shards),
)


rule extract_shard:
    input:
        unpack(lambda w: model_files(w.instance)),
        dataset="<results>/datasets/{dataset}.parquet",
    output:
        activations=update(
            "<results>/activations/{instance}{step}/{dataset}.shards/{shard}.h5"
        ),
    log:
        "<logs>/extract/{instance}{step}/{dataset}-{shard}.log",
    benchmark:
        "<timing>/extract/{instance}{step}/{dataset}-{shard}.tsv"
    wildcard_constraints:
        **SHARDED,
        shard="[0-9]+",
    priority: PRIORITY["extract"]
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=lambda w: asked.mem_mb("extract", w.instance, 8000),
        runtime=240,
        gpu=1,
    params:
        settings=study.extraction_settings,
        n_shards=lambda w: study.shards[w.dataset],
        dataset=lambda w: study.dataset_part(w.dataset),
        seed=study.config["seed"],
        code=code_version("extract_shard.py"),
        # What the file says: joined, it is the file that the extraction of the whole gives.
        code_of_whole=code_version("extract.py"),
    message:
        "Extracting activations of {wildcards.instance}{wildcards.step} on part {wildcards.shard} of {wildcards.dataset}"
    script:
        "../scripts/extract_shard.py"


rule gather:
    input:
        shards=lambda w: expand(
            "<results>/activations/{{instance}}{{step}}/{{dataset}}.shards/{shard}.h5",
            shard=range(study.shards[w.dataset]),
        ),
    output:
        activations="<results>/activations/{instance}{step}/{dataset}.h5",
    log:
        "<logs>/gather/{instance}{step}/{dataset}.log",
    benchmark:
        "<timing>/gather/{instance}{step}/{dataset}.tsv"
    wildcard_constraints:
        **SHARDED,
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=2000,
        runtime=240,
    params:
        joined=study.config["extraction"]["joined"],
        code=code_version("gather.py"),
    message:
        "Joining the parts of {wildcards.dataset} for {wildcards.instance}{wildcards.step}"
    script:
        "../scripts/gather.py"
