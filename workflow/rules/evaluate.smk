# What the models can do: language models solve problems, embedding models go through benchmarks,
# and the scores of pairs are compared.


rule accuracy:
    input:
        unpack(lambda w: parent_files(w.instance)),
        unpack(lambda w: model_files(w.instance)),
        problems=study.accuracy_file(),
    output:
        table="<results>/accuracy/{instance}.parquet",
        dose="<results>/dose/{instance}.parquet",
    log:
        "<logs>/accuracy/{instance}.log",
    benchmark:
        "<timing>/accuracy/{instance}.tsv"
    wildcard_constraints:
        instance=any_of(study.language_models),
    priority: PRIORITY["extract"]  # among the longest jobs
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=lambda w: asked.mem_mb("accuracy", w.instance, 4000),
        runtime=lambda w: asked.runtime("accuracy", w.instance, 60),
        gpu=1,
    params:
        labels=lambda w: study.labels(w.instance),
        parent=lambda w: study.instances[w.instance].parent,
        steps=lambda w: list(study.instances[w.instance].checkpoints),
        style=lambda w: "trace" if study.writes_traces(w.instance) else "solution",
        settings=study.config["accuracy"],
        seed=study.config["seed"],
        data=study.accuracy_part(),
        code=code_version("accuracy.py"),
    message:
        "Measuring the accuracy of {wildcards.instance}"
    script:
        "../scripts/accuracy.py"


# One job for each model and group of tasks. What a job finished is kept beside its results, in a folder
# that the groups of a suite share (`<suite>.kept`), so that a new task, one that failed, or another
# division into groups costs only itself. (An updated folder would not do: after a kill Snakemake 9 does
# not start again beside its own copy of such a folder.)
# `result_code` is the code that makes a task's result: a change elsewhere behind the script starts the
# job again, which then finds all its tasks kept.
rule evaluate:
    input:
        unpack(lambda w: evaluated_files(w.instance)),
        unpack(lambda w: study.evaluation_inputs(w.instance, w.group)),
    output:
        table="<results>/benchmarks/{instance}/{group}.parquet",
        results=directory("<results>/benchmarks/{instance}/{group}"),
        status="<results>/benchmarks/{instance}/{group}.json",
    log:
        "<logs>/evaluate/{instance}/{group}.log",
    benchmark:
        "<timing>/evaluate/{instance}/{group}.tsv"
    wildcard_constraints:
        instance=any_of(study.evaluated),
        group=any_of(study.task_groups),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=lambda w: asked.mem_mb("evaluate", w.instance, 4000),
        runtime=lambda w: 240 if w.group == "local" else 1440,
        gpu=1,
    params:
        group=lambda w: study.task_groups[w.group].settings,
        labels=lambda w: study.labels(w.instance),
        attempt=lambda w: attempts[
            f"{study.folder}/benchmarks/{w.instance}/{w.group}.json"
        ],
        settings=lambda w: study.evaluation_settings(w.instance),
        data=lambda w: study.task_parts(w.group),
        code=code_version("evaluate.py"),
        result_code=script_version(WORKFLOW / "hrsa_workflow" / "task_results.py"),
    message:
        "Running the benchmarks {wildcards.group} on {wildcards.instance}"
    script:
        "../scripts/evaluate.py"


rule differences:
    input:
        tables=products.evaluation_files(
            study, ".parquet", products.paired_models(study)
        ),
        results=products.evaluation_files(study, "", products.paired_models(study)),
    output:
        csv="<results>/tables/differences.csv",
        parquet="<results>/tables/differences.parquet",
        status="<results>/tables/differences.json",
    log:
        "<logs>/differences.log",
    benchmark:
        "<timing>/differences.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=1000,
        runtime=20,
    params:
        attempt=attempts.get(f"{study.folder}/tables/differences.json"),
        models=products.paired_evaluations(study),
        pairs=products.benchmark_pairs(study),
        margins=products.benchmark_margins(study),
        code=code_version("differences.py"),
    message:
        "Comparing the scores of pairs"
    script:
        "../scripts/differences.py"
