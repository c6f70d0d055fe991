# The study that all rules ask: its validated configuration, its instances, its files.
from pathlib import Path

from hrsa.errors import UserError
from hrsa_workflow import products
from hrsa_workflow.benchmark_groups import check_suites
from hrsa_workflow.code_version import code_version as script_version
from hrsa_workflow.config import load_config
from hrsa_workflow.instances import VARIANTS
from hrsa_workflow.resources import JobResources
from hrsa_workflow.snakefile import (
    ConfigurationError,
    any_of,
    configuration_files,
    rule_name,
    suffixes,
)
from hrsa_workflow.status import attempt_of
from hrsa_workflow.study import RECIPES, Study
from hrsa_workflow.training_data import (
    CORPUS_SETTINGS,
    difficulty_parents,
    difficulty_settings,
    mined_sets,
    mining_part,
    source_file,
    source_part,
    training_set_files,
)

WORKFLOW = Path(workflow.basedir) / "workflow"
ENVIRONMENT = "../../envs/environment.yaml"

# Priorities: what others wait for, and what takes longest, starts first, so that at the end no long job
# runs alone while the other cores have nothing left to do.
PRIORITY = {"train": 40, "extract": 30, "neighbours": 20, "compare": 10}


def code_version(script):
    """Hash of the code that a rule's script runs, the library's modules included."""
    return script_version(WORKFLOW / "scripts" / script)


def model_files(instance, prefix=""):
    """A model as an input: its record is compared by content, its weights only have to be there.

    Weights from outside may be in several files; their record holds the hash of them all.
    """
    folder = f"{study.folder}/models/{instance}"
    files = {f"{prefix}record": f"{folder}/record.json"}
    if study.instances[instance].source in (*RECIPES, *VARIANTS):
        files[f"{prefix}weights"] = ancient(f"{folder}/model.safetensors")
    return files


def parent_files(instance):
    """The parent of an instance as an input, where it has one."""
    parent = study.instances[instance].parent
    return model_files(parent, "parent_") if parent else {}


def source_files(instance):
    """What a model from outside is made from; a user's own files are compared by their hash."""
    files = study.source_files(instance)
    return files if study.instances[instance].source == "hub" else ancient(files)


def base_files(instance):
    """What an adapter is merged onto, where an instance is one; compared like other sources."""
    files = study.base_files(instance)
    is_download = any(Path(file).name == "retrieved.json" for file in files)
    return files if is_download else ancient(files)


def dataset_files(dataset):
    """What a data set is made from; a user's own file is compared by its hash."""
    files = study.dataset_files(dataset)
    return ancient(files) if "path" in study.config["datasets"][dataset] else files


def difficulty_source(model):
    """The problems that are tried before an RLVR model is trained on them."""
    settings = next(
        one.settings for one in study.instances.values() if one.model == model
    )
    return source_file(study, settings["data"])


def evaluated_files(instance):
    """What is benchmarked as an input: a model, or nothing for BM25."""
    return {} if instance == "bm25" else model_files(instance)


try:
    study = Study(
        load_config(config, files=configuration_files(workflow)), code=code_version
    )
    if workflow.is_main_process:  # it asks mteb, which takes seconds to import
        check_suites(study.config, files=configuration_files(workflow))
    study.task_groups  # asks mteb too, where sizes divide the tasks
except UserError as error:
    raise ConfigurationError(str(error)) from None

# What jobs ask of a scheduler: the number at the end of a call is the least.
asked = JobResources(study)

# At --config retry_failed=true, jobs whose status record lists a failure are at their next attempt.
attempts = {
    status: attempt_of(Path(status), retry=study.config["retry_failed"])
    for status in products.statuses(study)
}
