"""Print what the study takes: models, jobs, operations, memory and disk; run nothing of it."""

from pathlib import Path

from hrsa_workflow.job import job

with job(snakemake):
    from hrsa_workflow.config import load_config
    from hrsa_workflow.job_counts import count_jobs
    from hrsa_workflow.plan import write_plan
    from hrsa_workflow.study import Study

    config = load_config(snakemake.config, files=map(Path, snakemake.params.files))
    every, left = count_jobs(snakemake.params.python, snakemake.params.arguments)
    # nothing is asked of the study that hangs on the code of a script
    text = write_plan(Study(config, code=lambda script: ""), every, left)
    print(text)

# The log has it; and so has whoever asked, on the terminal.
print(text, end="", flush=True)
