# One rule per recipe, one job per instance. A parent's record is compared by content; its weights,
# which the same job writes, only have to be there.


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
        corpus=study.corpus_files(RECIPE_CORPUS["pretrain"]),
    output:
        weights="<results>/models/{instance}/model.safetensors",
        config="<results>/models/{instance}/config.json",
        tokenizer="<results>/models/{instance}/tokenizer.json",
        tokenizer_config="<results>/models/{instance}/tokenizer_config.json",
        record="<results>/models/{instance}/record.json",
        arguments="<results>/models/{instance}/arguments.json",
        curve="<results>/models/{instance}/curve.csv",
        checkpoints=directory("<results>/models/{instance}/checkpoints"),
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
        mem_mb=4000,
        runtime=120,
        gpu=1,
    params:
        seed=lambda w: study.instances[w.instance].train_seed,
        settings=lambda w: study.training_settings(w.instance),
        corpus=study.corpus_part(RECIPE_CORPUS["pretrain"]),
        resume=lambda w: f"{study.folder}/checkpoints/{w.instance}",
        code=code_version("pretrain.py"),
    message:
        "Pretraining {wildcards.instance} from scratch"
    script:
        "../scripts/pretrain.py"


rule sft:
    input:
        unpack(lambda w: parent_files(w.instance)),
        corpus=study.corpus_files(RECIPE_CORPUS["sft"]),
    output:
        weights="<results>/models/{instance}/model.safetensors",
        config="<results>/models/{instance}/config.json",
        tokenizer="<results>/models/{instance}/tokenizer.json",
        tokenizer_config="<results>/models/{instance}/tokenizer_config.json",
        record="<results>/models/{instance}/record.json",
        arguments="<results>/models/{instance}/arguments.json",
        curve="<results>/models/{instance}/curve.csv",
        checkpoints=directory("<results>/models/{instance}/checkpoints"),
    log:
        "<logs>/sft/{instance}.log",
    benchmark:
        "<timing>/sft/{instance}.tsv"
    wildcard_constraints:
        instance=any_of(study.named("sft")),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
        gpu=1,
    params:
        seed=lambda w: study.instances[w.instance].train_seed,
        settings=lambda w: study.training_settings(w.instance),
        corpus=study.corpus_part(RECIPE_CORPUS["sft"]),
        resume=lambda w: f"{study.folder}/checkpoints/{w.instance}",
        code=code_version("sft.py"),
    message:
        "Fine-tuning {wildcards.instance} on reasoning traces"
    script:
        "../scripts/sft.py"


rule rlvr:
    input:
        unpack(lambda w: parent_files(w.instance)),
        corpus=study.corpus_files(RECIPE_CORPUS["rlvr"]),
    output:
        weights="<results>/models/{instance}/model.safetensors",
        config="<results>/models/{instance}/config.json",
        tokenizer="<results>/models/{instance}/tokenizer.json",
        tokenizer_config="<results>/models/{instance}/tokenizer_config.json",
        record="<results>/models/{instance}/record.json",
        arguments="<results>/models/{instance}/arguments.json",
        curve="<results>/models/{instance}/curve.csv",
        checkpoints=directory("<results>/models/{instance}/checkpoints"),
    log:
        "<logs>/rlvr/{instance}.log",
    benchmark:
        "<timing>/rlvr/{instance}.tsv"
    wildcard_constraints:
        instance=any_of(study.named("rlvr")),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=4000,
        runtime=240,
        gpu=1,
    params:
        seed=lambda w: study.instances[w.instance].train_seed,
        settings=lambda w: study.training_settings(w.instance),
        corpus=study.corpus_part(RECIPE_CORPUS["rlvr"]),
        resume=lambda w: f"{study.folder}/checkpoints/{w.instance}",
        code=code_version("rlvr.py"),
    message:
        "Training {wildcards.instance} on verifiable rewards"
    script:
        "../scripts/rlvr.py"


rule continued:
    input:
        unpack(lambda w: parent_files(w.instance)),
        corpus=study.corpus_files(RECIPE_CORPUS["continued"]),
    output:
        weights="<results>/models/{instance}/model.safetensors",
        config="<results>/models/{instance}/config.json",
        tokenizer="<results>/models/{instance}/tokenizer.json",
        tokenizer_config="<results>/models/{instance}/tokenizer_config.json",
        record="<results>/models/{instance}/record.json",
        arguments="<results>/models/{instance}/arguments.json",
        curve="<results>/models/{instance}/curve.csv",
        checkpoints=directory("<results>/models/{instance}/checkpoints"),
    log:
        "<logs>/continued/{instance}.log",
    benchmark:
        "<timing>/continued/{instance}.tsv"
    wildcard_constraints:
        instance=any_of(study.named("continued")),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
        gpu=1,
    params:
        seed=lambda w: study.instances[w.instance].train_seed,
        settings=lambda w: study.training_settings(w.instance),
        corpus=study.corpus_part(RECIPE_CORPUS["continued"]),
        resume=lambda w: f"{study.folder}/checkpoints/{w.instance}",
        code=code_version("continued.py"),
    message:
        "Training control {wildcards.instance} on plain text"
    script:
        "../scripts/continued.py"


rule contrastive:
    input:
        unpack(lambda w: parent_files(w.instance)),
        corpus=study.corpus_files(RECIPE_CORPUS["contrastive"]),
    output:
        weights="<results>/models/{instance}/model.safetensors",
        config="<results>/models/{instance}/config.json",
        tokenizer="<results>/models/{instance}/tokenizer.json",
        tokenizer_config="<results>/models/{instance}/tokenizer_config.json",
        record="<results>/models/{instance}/record.json",
        arguments="<results>/models/{instance}/arguments.json",
        curve="<results>/models/{instance}/curve.csv",
        modules="<results>/models/{instance}/modules.json",
        pooling="<results>/models/{instance}/1_Pooling/config.json",
        checkpoints=directory("<results>/models/{instance}/checkpoints"),
    log:
        "<logs>/contrastive/{instance}.log",
    benchmark:
        "<timing>/contrastive/{instance}.tsv"
    wildcard_constraints:
        instance=any_of(study.named("contrastive")),
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
        gpu=1,
    params:
        seed=lambda w: study.instances[w.instance].train_seed,
        settings=lambda w: study.training_settings(w.instance),
        corpus=study.corpus_part(RECIPE_CORPUS["contrastive"]),
        resume=lambda w: f"{study.folder}/checkpoints/{w.instance}",
        code=code_version("contrastive.py"),
    message:
        "Training {wildcards.instance} into an embedding model"
    script:
        "../scripts/contrastive.py"
