# The front door: which study, which rooms, and what can be asked for.
# snakemake            the whole study of config.yaml (`make study` does the same)
# snakemake -n         what is stale, and why
# snakemake --configfile studies/pair.yaml       another study
# snakemake --config scale=smoke                 every step at the smallest sizes
# snakemake plan       what a study costs, before anything is run
from snakemake.utils import min_version

min_version("9.27.1")

# Another study replaces this one and is never merged into it.
if not workflow.configfiles and not workflow.overwrite_configfiles:

    configfile: "config.yaml"


include: "workflow/rules/common.smk"


pathvars:
    results=study.folder,
    logs=f"{study.folder}/logs",
    timing=f"{study.folder}/logs/timing",


include: "workflow/rules/retrieve.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/extract.smk"
include: "workflow/rules/compare.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/plan.smk"


rule all:
    default_target: True
    input:
        finished=f"{study.folder}/finished.json",
        page=f"{study.folder}/report/index.html",
        figures=products.figure_files(study),
        tables=products.table_files(study).values(),


rule figures:
    input:
        figures=products.figure_files(study),
