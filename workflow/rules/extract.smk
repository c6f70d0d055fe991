# Hidden states of every instance and its checkpoints on all data sets: one job per instance. A rule
# has a fixed number of outputs, so there is one rule per distinct list of checkpoints. Outputs are
# updated in place: a file whose header is still right is kept, so that a new data set or checkpoint
# costs only its own extraction.

for steps, instances in study.schedules.items():

    rule:
        name:
            rule_name("extract", steps)
        input:
            unpack(lambda w: model_files(w.instance)),
            datasets=expand(
                "<results>/datasets/{dataset}.parquet", dataset=study.datasets
            ),
        output:
            activations=update(
                expand(
                    "<results>/activations/{{instance}}{step}/{dataset}.h5",
                    step=suffixes(steps),
                    dataset=study.datasets,
                )
            ),
        log:
            "<logs>/extract/{instance}.log",
        benchmark:
            "<timing>/extract/{instance}.tsv"
        wildcard_constraints:
            instance=any_of(instances),
        conda:
            ENVIRONMENT
        threads: 1
        resources:
            mem_mb=8000,
            runtime=240,
            gpu=1,
        params:
            settings=study.config["extraction"],
            steps=list(steps),
            datasets=study.dataset_parts(),
            seed=study.config["seed"],
            code=code_version("extract.py"),
        message:
            "Extracting activations of {wildcards.instance}"
        script:
            "../scripts/extract.py"
