# One rule per figure family. Each reads the results of its own metric rather than the joined table,
# so that a change of one metric redraws only the figures that show it.


rule figure_accuracy:
    input:
        tables=expand(
            "<results>/accuracy/{instance}.parquet", instance=study.language_models
        ),
    output:
        png=report(
            "<results>/figures/accuracy.png",
            caption="../report/accuracy.rst",
            category="Models",
        ),
        pdf="<results>/figures/accuracy.pdf",
    log:
        "<logs>/figure_accuracy.log",
    benchmark:
        "<timing>/figure_accuracy.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=1000,
        runtime=20,
    params:
        smoke=products.is_smoke(study),
        code=code_version("figure_accuracy.py"),
    message:
        "Drawing accuracy"
    script:
        "../scripts/figure_accuracy.py"


rule figure_reward:
    input:
        curves=expand(
            "<results>/models/{instance}/curve.csv", instance=study.named(*RECIPES)
        ),
    output:
        reward_png=report(
            "<results>/figures/reward.png",
            caption="../report/reward.rst",
            category="Models",
        ),
        reward_pdf="<results>/figures/reward.pdf",
        losses_png=report(
            "<results>/figures/losses.png",
            caption="../report/losses.rst",
            category="Models",
        ),
        losses_pdf="<results>/figures/losses.pdf",
    log:
        "<logs>/figure_reward.log",
    benchmark:
        "<timing>/figure_reward.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=1000,
        runtime=20,
    params:
        labels=[study.labels(instance) for instance in study.named(*RECIPES)],
        kinds=products.model_kinds(study),
        smoke=products.is_smoke(study),
        code=code_version("figure_reward.py"),
    message:
        "Drawing training curves"
    script:
        "../scripts/figure_reward.py"


rule figure_heatmaps:
    input:
        tables=expand(
            "<results>/similarity/{{metric}}/{pair}.parquet", pair=study.pairs
        ),
    output:
        png=report(
            "<results>/figures/{metric}_heatmaps.png",
            caption="../report/heatmaps.rst",
            category="Similarity",
        ),
        pdf="<results>/figures/{metric}_heatmaps.pdf",
    log:
        "<logs>/figure_heatmaps/{metric}.log",
    benchmark:
        "<timing>/figure_heatmaps/{metric}.tsv"
    wildcard_constraints:
        metric="correlation|cka",
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=1000,
        runtime=20,
    params:
        kinds=products.heatmap_kinds(study),
        smoke=products.is_smoke(study),
        code=code_version("figure_heatmaps.py"),
    message:
        "Drawing heat maps of {wildcards.metric}"
    script:
        "../scripts/figure_heatmaps.py"


rule figure_procrustes:
    input:
        tables=products.results_of(study, ["procrustes"]),
        arrays=products.results_of(study, ["procrustes"], "h5"),
    output:
        png=report(
            "<results>/figures/procrustes.png",
            caption="../report/procrustes.rst",
            category="Similarity",
        ),
        pdf="<results>/figures/procrustes.pdf",
    log:
        "<logs>/figure_procrustes.log",
    benchmark:
        "<timing>/figure_procrustes.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=1000,
        runtime=20,
    params:
        pairs=products.final_comparisons(study),
        dataset=next(iter(study.datasets_for("procrustes")), None),
        smoke=products.is_smoke(study),
        code=code_version("figure_procrustes.py"),
    message:
        "Drawing rotations"
    script:
        "../scripts/figure_procrustes.py"


rule figure_knn:
    input:
        tables=products.results_of(study, ["knn"]),
    output:
        png=report(
            "<results>/figures/knn.png",
            caption="../report/knn.rst",
            category="Similarity",
        ),
        pdf="<results>/figures/knn.pdf",
    log:
        "<logs>/figure_knn.log",
    benchmark:
        "<timing>/figure_knn.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=1000,
        runtime=20,
    params:
        variant=products.neighbour_variant(study),
        kinds=products.curve_kinds(study),
        smoke=products.is_smoke(study),
        code=code_version("figure_knn.py"),
    message:
        "Drawing neighbour curves"
    script:
        "../scripts/figure_knn.py"


rule figure_probe:
    input:
        tables=products.results_of(study, ["probe"]),
    output:
        png=report(
            "<results>/figures/probe.png",
            caption="../report/probe.rst",
            category="Similarity",
        ),
        pdf="<results>/figures/probe.pdf",
    log:
        "<logs>/figure_probe.log",
    benchmark:
        "<timing>/figure_probe.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=1000,
        runtime=20,
    params:
        smoke=products.is_smoke(study),
        code=code_version("figure_probe.py"),
    message:
        "Drawing probe bars"
    script:
        "../scripts/figure_probe.py"


rule figure_dynamics:
    input:
        tables=products.results_of(study, study.metrics),
    output:
        png=report(
            "<results>/figures/dynamics.png",
            caption="../report/dynamics.rst",
            category="Similarity",
        ),
        pdf="<results>/figures/dynamics.pdf",
    log:
        "<logs>/figure_dynamics.log",
    benchmark:
        "<timing>/figure_dynamics.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=1000,
        runtime=20,
    params:
        final_step=products.final_step(study),
        smoke=products.is_smoke(study),
        code=code_version("figure_dynamics.py"),
    message:
        "Drawing similarity against training steps"
    script:
        "../scripts/figure_dynamics.py"


rule figure_benchmarks:
    input:
        tables=products.evaluation_files(study, ".parquet"),
    output:
        png=report(
            "<results>/figures/benchmarks.png",
            caption="../report/benchmarks.rst",
            category="Benchmarks",
        ),
        pdf="<results>/figures/benchmarks.pdf",
    log:
        "<logs>/figure_benchmarks.log",
    benchmark:
        "<timing>/figure_benchmarks.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=1000,
        runtime=20,
    params:
        kinds=products.model_kinds(study),
        embedding=products.embedding_models(study),
        smoke=products.is_smoke(study),
        code=code_version("figure_benchmarks.py"),
    message:
        "Drawing benchmark scores"
    script:
        "../scripts/figure_benchmarks.py"


rule figure_differences:
    input:
        table="<results>/tables/differences.parquet",
    output:
        png=report(
            "<results>/figures/differences.png",
            caption="../report/differences.rst",
            category="Benchmarks",
        ),
        pdf="<results>/figures/differences.pdf",
    log:
        "<logs>/figure_differences.log",
    benchmark:
        "<timing>/figure_differences.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=1000,
        runtime=20,
    params:
        smoke=products.is_smoke(study),
        code=code_version("figure_differences.py"),
    message:
        "Drawing differences of benchmark scores"
    script:
        "../scripts/figure_differences.py"


rule figure_reanalysis:
    input:
        table="<results>/tables/reanalysis.parquet",
    output:
        png=report(
            "<results>/figures/reanalysis.png",
            caption="../report/reanalysis.rst",
            category="Benchmarks",
        ),
        pdf="<results>/figures/reanalysis.pdf",
    log:
        "<logs>/figure_reanalysis.log",
    benchmark:
        "<timing>/figure_reanalysis.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=1000,
        runtime=20,
    params:
        smoke=False,  # published numbers mean the same at every scale
        code=code_version("figure_reanalysis.py"),
    message:
        "Drawing the published differences"
    script:
        "../scripts/figure_reanalysis.py"
