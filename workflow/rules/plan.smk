# What the study takes, told before anything is run. Without an output the rule is never up to date.
import sys

from hrsa_workflow.job_counts import dry_run_arguments


rule plan:
    log:
        "<logs>/plan.log",
    localrule: True
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        arguments=lambda w: dry_run_arguments(workflow),
        files=[str(file) for file in configuration_files(workflow)],
        python=sys.executable,
        code=code_version("plan.py"),
    message:
        "Estimating what the study takes"
    script:
        "../scripts/plan.py"
