"""All estimates of a study together: models, operations by stage, memory by rule, disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hrsa_workflow.analysis_costs import AnalysisCosts
from hrsa_workflow.estimates import OPEN, ROUGH, UNKNOWN, Estimate, as_estimate, total
from hrsa_workflow.sizes import ModelSize, model_sizes
from hrsa_workflow.study import RECIPES, Study
from hrsa_workflow.training_costs import (
    FLOAT32,
    PROCESS_BYTES,
    TrainingCost,
    difficulty_cost,
    training_cost,
)
from hrsa_workflow.training_data import difficulty_parents

# Weights on the hub mostly have 16 bits.
DOWNLOAD_BYTES = 2
# Python with mteb.
EVALUATION_BYTES = 0.7e9
# Models that a job holds at once: a merge its two parents and what becomes of them.
HELD_BY_MERGE = 3


@dataclass(frozen=True)
class Costs:
    """All estimates of a study.

    Attributes
    ----------
    sizes, trainings : dict
        By instance; None where unknown, and where nothing is trained.
    stages : dict of str to Estimate
        Floating-point operations.
    memory : dict
        Rule -> (bytes of its largest job, the instance that is; "" where all are alike).
    disk : dict of str to Estimate
        Bytes that stay.
    resume : Estimate
        Bytes of the largest state of a training, which is removed at its end.
    """

    sizes: dict[str, ModelSize | None]
    trainings: dict[str, TrainingCost | None]
    stages: dict[str, Estimate]
    memory: dict[str, tuple[Estimate, str]]
    disk: dict[str, Estimate]
    resume: Estimate


def estimate_costs(study: Study) -> Costs:
    """Estimate what a study takes; nothing is run, made or fetched."""
    sizes = model_sizes(study)
    trainings = {name: training_cost(study, name, sizes[name]) for name in study.instances}
    analysis = AnalysisCosts(study, sizes)
    memory: dict[str, tuple[Estimate, str]] = {}
    for rule, name, estimate in job_memory(study, sizes, trainings, analysis):
        memory[rule] = _larger(memory.get(rule), (estimate, name))
    resumes = [cost.resume for cost in trainings.values() if cost]
    return Costs(
        sizes=sizes,
        trainings=trainings,
        stages=_stages(study, sizes, trainings, analysis),
        memory=memory,
        disk=_disk(study, sizes, trainings, analysis),
        resume=max(resumes, key=lambda one: one.value, default=Estimate()),
    )


def _stages(
    study: Study,
    sizes: dict[str, ModelSize | None],
    trainings: dict[str, TrainingCost | None],
    analysis: AnalysisCosts,
) -> dict[str, Estimate]:
    tried = (difficulty_cost(study, *pair, sizes) for pair in difficulty_parents(study))
    # those of knn are its neighbours
    metrics = [metric for metric in study.metrics if metric != "knn"]
    metrics += ["neighbours"] if "knn" in study.metrics else []
    found = {
        "training": total(cost.operations for cost in trainings.values() if cost),
        "mining": analysis.mining()[0],
        "difficulty": total(tried),
        "extraction": total(analysis.extraction(name)[0] for name in study.instances),
        **{metric: analysis.similarity(metric) for metric in metrics},
        "accuracy": total(map(analysis.accuracy, study.language_models)),
        "benchmarks": total(map(analysis.benchmark, study.evaluated)),
    }
    return {stage: one for stage, one in found.items() if one.value or one.marks}


def _disk(
    study: Study,
    sizes: dict[str, ModelSize | None],
    trainings: dict[str, TrainingCost | None],
    analysis: AnalysisCosts,
) -> dict[str, Estimate]:
    trained = [(study.instances[name], cost) for name, cost in trainings.items() if cost]
    found = {
        "trained models": total(cost.saved for _, cost in trained),
        "exposed checkpoints": total(cost.saved for one, cost in trained for _ in one.checkpoints),
        "other models": total(_bytes_of_others(study, sizes)),
        "activations": total(analysis.extraction(name)[1] for name in study.instances),
        "lists of neighbours": total(map(analysis.neighbour_bytes, study.instances)),
    }
    return {what: one for what, one in found.items() if one.value or one.marks}


def _bytes_of_others(study: Study, sizes: dict[str, ModelSize | None]) -> Iterator[Estimate]:
    """Bytes of downloads, each once, and of models that are written here without training."""
    fetched: set[str] = set()
    for name, instance in study.instances.items():
        number = FLOAT32
        if instance.source == "hub":
            folder = study.hub_folder(name)
            if folder in fetched:
                continue
            fetched.add(folder)
            number = DOWNLOAD_BYTES
        elif not _is_written(study, name):
            continue
        size = sizes[name]
        yield _marked(as_estimate(number * size.parameters), size) if size else UNKNOWN


def _is_written(study: Study, name: str) -> bool:
    """Whether weights are written for an instance that is not trained, and not just linked."""
    instance = study.instances[name]
    if instance.source in RECIPES or instance.source == "reading":
        return False
    model = study.config["models"][instance.model]
    return "path" not in model or "base" in model or model["path"].lower().endswith(".gguf")


def job_memory(
    study: Study,
    sizes: dict[str, ModelSize | None],
    trainings: dict[str, TrainingCost | None],
    analysis: AnalysisCosts,
) -> Iterator[tuple[str, str, Estimate]]:
    """Yield rule, instance and bytes at the peak of the jobs that are not small."""
    for name, instance in study.instances.items():
        cost = trainings[name]
        if cost:
            yield instance.source, name, cost.memory
        elif instance.source != "reading":
            rule = "materialise" if instance.source in ("hub", "path") else instance.source
            held = HELD_BY_MERGE if rule == "merge" else 1
            yield rule, name, _loaded(sizes[name], held)
    if (miner := analysis.mining()[1]).value or miner.marks:
        yield "mine", study.miner or "", miner
    for _, parent in difficulty_parents(study):
        yield "difficulty", parent, _loaded(sizes[parent])
    for name in study.instances:
        yield "extract", name, analysis.extraction_memory(name)
    for metric in (*(["neighbours"] if "knn" in study.metrics else []), *study.metrics):
        yield metric, "", analysis.metric_memory()
    for name in study.language_models:
        yield "accuracy", name, analysis.accuracy_memory(name)
    for name in study.evaluated:
        if name != "bm25":
            yield "evaluate", name, _loaded(sizes[name], process=EVALUATION_BYTES)


def _loaded(size: ModelSize | None, held: int = 1, process: float = PROCESS_BYTES) -> Estimate:
    """Bytes of a process with a model, or several of its kind, in float32."""
    if size is None:
        return UNKNOWN
    return _marked(as_estimate(process + held * FLOAT32 * size.parameters), size)


def _marked(estimate: Estimate, size: ModelSize) -> Estimate:
    return estimate.marked(ROUGH) if size.is_guess else estimate


def _larger(
    known: tuple[Estimate, str] | None, other: tuple[Estimate, str]
) -> tuple[Estimate, str]:
    """The larger of two jobs; that one of them is not known is said of the larger."""
    if known is None:
        return other
    estimate, name = max(known, other, key=lambda one: one[0].value)
    unknown = (known[0].marks | other[0].marks) & {OPEN}
    return estimate.marked(*unknown), name
