# One rule per recipe, one job per instance. A parent's record is compared by content; its weights,
# which the same job writes, only have to be there.

# What every training leaves in the model's folder.
TRAINED = dict(
    weights="<results>/models/{instance}/model.safetensors",
    config="<results>/models/{instance}/config.json",
    tokenizer="<results>/models/{instance}/tokenizer.json",
    tokenizer_config="<results>/models/{instance}/tokenizer_config.json",
    record="<results>/models/{instance}/record.json",
    arguments="<results>/models/{instance}/arguments.json",
    curve="<results>/models/{instance}/curve.csv",
    checkpoints=directory("<results>/models/{instance}/checkpoints"),
)


rule difficulty:
    input:
        unpack(lambda w: model_files(w.parent, "parent_")),
        problems=lambda w: difficulty_source(w.model),
    output:
        table="<results>/datasets/difficulty/{model}/{parent}.parquet",
        readable="<results>/datasets/difficulty/{model}/{parent}.csv",
    log:
        "<logs>/difficulty/{model}/{parent}.log",
    benchmark:
        "<timing>/difficulty/{model}/{parent}.tsv"
    wildcard_constraints:
        model=any_of(model for model, _ in difficulty_parents(study)),
        parent=any_of(parent for _, parent in difficulty_parents(study)),
    conda:
        ENVIRONMENT
    threads: 2
    resources:
        mem_mb=lambda w: asked.mem_mb("difficulty", w.parent, 8000),
        runtime=lambda w: asked.runtime("difficulty", w.parent, 240),
        gpu=1,
    params:
        settings=lambda w: difficulty_settings(study, w.model),
        seed=study.config["seed"],
        code=code_version("difficulty.py"),
    message:
        "Finding the problems that {wildcards.parent} solves sometimes, for {wildcards.model}"
    script:
        "../scripts/difficulty.py"


rule mine:
    input:
        unpack(lambda w: model_files(study.miner, "miner_")),
        pairs=lambda w: source_file(study, w.training),
    output:
        table="<results>/datasets/mined/{training}.parquet",
    log:
        "<logs>/mine/{training}.log",
    benchmark:
        "<timing>/mine/{training}.tsv"
    wildcard_constraints:
        training=any_of(mined_sets(study)),
    priority: PRIORITY["train"]
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=lambda w: asked.mem_mb("mine", study.miner, 8000),
        runtime=lambda w: asked.runtime("mine", study.miner, 240),
        gpu=1,
    params:
        settings=lambda w: mining_part(study, w.training),
        seed=study.config["seed"],
        code=code_version("mine.py"),
    message:
        "Mining hard negatives for {wildcards.training}"
    script:
        "../scripts/mine.py"


rule merge:
    input:
        unpack(lambda w: parent_files(w.instance)),
        unpack(lambda w: model_files(study.instances[w.instance].second, "second_")),
    output:
        weights="<results>/models/{instance}/model.safetensors",
        config="<results>/models/{instance}/config.json",
        record="<results>/models/{instance}/record.json",
    log:
        "<logs>/merge/{instance}.log",
    benchmark:
        "<timing>/merge/{instance}.tsv"
    wildcard_constraints:
        instance=any_of(study.named("merge")),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=lambda w: asked.mem_mb("merge", w.instance, 4000),
        runtime=60,
    params:
        method=lambda w: study.instances[w.instance].settings["method"],
        weight=lambda w: study.instances[w.instance].settings["weight"],
        code=code_version("merge.py"),
    message:
        "Merging two models into {wildcards.instance} ({params.method})"
    script:
        "../scripts/merge.py"


rule reinitialised:
    input:
        unpack(lambda w: parent_files(w.instance)),
    output:
        weights="<results>/models/{instance}/model.safetensors",
        config="<results>/models/{instance}/config.json",
        record="<results>/models/{instance}/record.json",
    log:
        "<logs>/reinitialised/{instance}.log",
    benchmark:
        "<timing>/reinitialised/{instance}.tsv"
    wildcard_constraints:
        instance=any_of(study.named("reinitialised")),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=lambda w: asked.mem_mb("reinitialised", w.instance, 4000),
        runtime=60,
    params:
        seed=lambda w: study.instances[w.instance].train_seed,
        code=code_version("reinitialised.py"),
    message:
        "Drawing new weights for {wildcards.instance}"
    script:
        "../scripts/reinitialised.py"


rule quantised:
    input:
        unpack(lambda w: parent_files(w.instance)),
    output:
        weights="<results>/models/{instance}/model.safetensors",
        config="<results>/models/{instance}/config.json",
        record="<results>/models/{instance}/record.json",
    log:
        "<logs>/quantised/{instance}.log",
    benchmark:
        "<timing>/quantised/{instance}.tsv"
    wildcard_constraints:
        instance=any_of(study.named("quantised")),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=lambda w: asked.mem_mb("quantised", w.instance, 4000),
        runtime=60,
    params:
        type=lambda w: study.instances[w.instance].settings["type"],
        code=code_version("quantised.py"),
    message:
        "Reading the weights of {wildcards.instance} in {params.type}"
    script:
        "../scripts/quantised.py"


rule reading:
    input:
        unpack(lambda w: parent_files(w.instance)),
    output:
        config="<results>/models/{instance}/config.json",
        record="<results>/models/{instance}/record.json",
    log:
        "<logs>/reading/{instance}.log",
    benchmark:
        "<timing>/reading/{instance}.tsv"
    wildcard_constraints:
        instance=any_of(study.named("reading")),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=500,
        runtime=10,
    params:
        attention=lambda w: study.instances[w.instance].settings["attention"],
        code=code_version("reading.py"),
    message:
        "Setting {wildcards.instance} to read with {params.attention} attention"
    script:
        "../scripts/reading.py"


rule pretrain:
    input:
        data=lambda w: study.training_files(w.instance),
    output:
        **TRAINED,
    log:
        "<logs>/pretrain/{instance}.log",
    benchmark:
        "<timing>/pretrain/{instance}.tsv"
    wildcard_constraints:
        instance=any_of(study.named("pretrain")),
    conda:
        ENVIRONMENT
    threads: 2
    resources:
        mem_mb=lambda w: asked.mem_mb("pretrain", w.instance, 4000),
        runtime=lambda w: asked.runtime("pretrain", w.instance, 120),
        gpu=1,
    params:
        seed=lambda w: study.instances[w.instance].train_seed,
        settings=lambda w: study.training_settings(w.instance),
        data_names=lambda w: study.training_names(w.instance),
        data=lambda w: study.training_parts(w.instance),
        resume=lambda w: f"{study.folder}/checkpoints/{w.instance}",
        code=code_version("pretrain.py"),
    message:
        "Pretraining {wildcards.instance} from scratch"
    script:
        "../scripts/pretrain.py"


rule sft:
    input:
        unpack(lambda w: parent_files(w.instance)),
        data=lambda w: study.training_files(w.instance),
    output:
        **TRAINED,
    log:
        "<logs>/sft/{instance}.log",
    benchmark:
        "<timing>/sft/{instance}.tsv"
    wildcard_constraints:
        instance=any_of(study.named("sft")),
    priority: PRIORITY["train"]
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=lambda w: asked.mem_mb("sft", w.instance, 4000),
        runtime=lambda w: asked.runtime("sft", w.instance, 120),
        gpu=lambda w: study.gpus(w.instance),
    params:
        seed=lambda w: study.instances[w.instance].train_seed,
        settings=lambda w: study.training_settings(w.instance),
        data_names=lambda w: study.training_names(w.instance),
        data=lambda w: study.training_parts(w.instance),
        resume=lambda w: f"{study.folder}/checkpoints/{w.instance}",
        code=code_version("sft.py"),
    message:
        "Fine-tuning {wildcards.instance} on reasoning traces"
    script:
        "../scripts/sft.py"


rule rlvr:
    input:
        unpack(lambda w: parent_files(w.instance)),
        data=lambda w: study.training_files(w.instance),
    output:
        **TRAINED,
    log:
        "<logs>/rlvr/{instance}.log",
    benchmark:
        "<timing>/rlvr/{instance}.tsv"
    wildcard_constraints:
        instance=any_of(study.named("rlvr")),
    priority: PRIORITY["train"]
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=lambda w: asked.mem_mb("rlvr", w.instance, 4000),
        runtime=lambda w: asked.runtime("rlvr", w.instance, 240),
        gpu=lambda w: study.gpus(w.instance),
    params:
        seed=lambda w: study.instances[w.instance].train_seed,
        settings=lambda w: study.training_settings(w.instance),
        data_names=lambda w: study.training_names(w.instance),
        data=lambda w: study.training_parts(w.instance),
        resume=lambda w: f"{study.folder}/checkpoints/{w.instance}",
        code=code_version("rlvr.py"),
    message:
        "Training {wildcards.instance} on verifiable rewards"
    script:
        "../scripts/rlvr.py"


rule continued:
    input:
        unpack(lambda w: parent_files(w.instance)),
        data=lambda w: study.training_files(w.instance),
    output:
        **TRAINED,
    log:
        "<logs>/continued/{instance}.log",
    benchmark:
        "<timing>/continued/{instance}.tsv"
    wildcard_constraints:
        instance=any_of(study.named("continued")),
    priority: PRIORITY["train"]
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=lambda w: asked.mem_mb("continued", w.instance, 4000),
        runtime=lambda w: asked.runtime("continued", w.instance, 120),
        gpu=lambda w: study.gpus(w.instance),
    params:
        seed=lambda w: study.instances[w.instance].train_seed,
        settings=lambda w: study.training_settings(w.instance),
        data_names=lambda w: study.training_names(w.instance),
        data=lambda w: study.training_parts(w.instance),
        resume=lambda w: f"{study.folder}/checkpoints/{w.instance}",
        code=code_version("continued.py"),
    message:
        "Training control {wildcards.instance} on plain text"
    script:
        "../scripts/continued.py"


rule contrastive:
    input:
        unpack(lambda w: parent_files(w.instance)),
        data=lambda w: study.training_files(w.instance),
    output:
        **TRAINED,
        modules="<results>/models/{instance}/modules.json",
        pooling="<results>/models/{instance}/1_Pooling/config.json",
    log:
        "<logs>/contrastive/{instance}.log",
    benchmark:
        "<timing>/contrastive/{instance}.tsv"
    wildcard_constraints:
        instance=any_of(study.named("contrastive")),
    priority: PRIORITY["train"]
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=lambda w: asked.mem_mb("contrastive", w.instance, 4000),
        runtime=lambda w: asked.runtime("contrastive", w.instance, 120),
        gpu=lambda w: study.gpus(w.instance),
    params:
        seed=lambda w: study.instances[w.instance].train_seed,
        settings=lambda w: study.training_settings(w.instance),
        data_names=lambda w: study.training_names(w.instance),
        data=lambda w: study.training_parts(w.instance),
        resume=lambda w: f"{study.folder}/checkpoints/{w.instance}",
        code=code_version("contrastive.py"),
    message:
        "Training {wildcards.instance} into an embedding model"
    script:
        "../scripts/contrastive.py"
