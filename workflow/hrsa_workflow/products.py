"""What a study leaves for people: its figures and tables, and what each is made from."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hrsa_workflow.instances import Pair, model_settings, trained_by
from hrsa_workflow.study import RECIPES, Study

# As in `hrsa.similarity.views`, which every reading of the Snakefile would have to import.
HALVES = {"half_a", "half_b"}
# Tables that a rule of their own makes from published numbers, whatever the study.
PUBLISHED_TABLES = ("reanalysis", "published_alignment")
# Tables of the study that its claims are tested on, where it has them.
CLAIMED = ("similarity", "dose", "differences", *PUBLISHED_TABLES)
PUBLISHED = ("table1", "inverse_row_entropy", "knn_overlap")
# Kinds of models by how they were made; others are of their parent's kind.
SOURCE_KINDS = {
    "pretrain": "base",
    "sft": "sft",
    "rlvr": "rlvr",
    "continued": "control",
    "merge": "other",
    "reinitialised": "other",
}


@dataclass(frozen=True)
class FigureEntry:
    """A figure: the stem of its files, its title, what the study needs for it, its caption."""

    name: str
    title: str
    needs: str
    caption: str = ""


# In the order in which the report shows them.
FIGURES = (
    FigureEntry("accuracy", "What the language models can do", "language models"),
    FigureEntry("reward", "How reinforcement learning went", "rlvr"),
    FigureEntry("losses", "Training losses", "training"),
    FigureEntry("correlation_heatmaps", "Dimension-wise correlation", "correlation", "heatmaps"),
    FigureEntry("procrustes", "Orthogonal Procrustes", "procrustes"),
    FigureEntry("cka_heatmaps", "Linear CKA", "cka", "heatmaps"),
    FigureEntry("knn", "Nearest neighbours", "knn"),
    FigureEntry("probe", "Cross-model linear probe", "probe"),
    FigureEntry("dynamics", "Similarity during contrastive training", "checkpoints"),
    FigureEntry("benchmarks", "Benchmarks", "benchmarks"),
    FigureEntry("differences", "Differences between models on the benchmarks", "differences"),
    FigureEntry("reanalysis", "Published numbers, tested for equivalence", "published"),
)


def figures(study: Study) -> list[FigureEntry]:
    """Figures that a study has something to draw for."""
    present = {*study.metrics, "published"}
    for needed, found in {
        "language models": study.language_models,
        "rlvr": study.named("rlvr"),
        "training": study.named(*RECIPES),
        "checkpoints": _followed_pairs(study),
        "benchmarks": study.evaluated,
        "differences": difference_tables(study),
    }.items():
        if found:
            present.add(needed)
    return [figure for figure in FIGURES if figure.needs in present]


def figure_files(study: Study, suffixes: Iterable[str] = ("png", "pdf")) -> list[str]:
    """Files of all figures, in the report's order."""
    return [
        f"{study.folder}/figures/{figure.name}.{suffix}"
        for figure in figures(study)
        for suffix in suffixes
    ]


def figure_titles(study: Study) -> list[dict[str, str]]:
    """Name, title and caption file of each figure, in the report's order."""
    return [
        {"name": figure.name, "title": figure.title, "caption": figure.caption or figure.name}
        for figure in figures(study)
    ]


def caption_files(study: Study) -> list[str]:
    """Caption files of all figures."""
    names = {figure.caption or figure.name for figure in figures(study)}
    return [f"workflow/report/{name}.rst" for name in sorted(names)]


def template_files() -> list[str]:
    """Files that the page is made with."""
    return sorted(str(file) for file in Path("workflow/hrsa/reporting/templates").glob("*.*"))


def heatmap_kinds(study: Study) -> list[str]:
    """Kinds of pairs that heat maps have a column for: SFT beside RLVR, where there is either."""
    found = {pair.kind for pair in study.pairs.values()}
    return ["sft", "rlvr"] if found & {"sft", "rlvr"} else sorted(found)


def curve_kinds(study: Study) -> list[str]:
    """Kinds of pairs that get a line of their own; seed pairs are the band behind them."""
    order = ("sft", "rlvr", "control", "contrastive", "other")
    found = {pair.kind for pair in study.pairs.values()}
    return [kind for kind in order if kind in found]


def neighbour_variant(study: Study) -> str:
    """The neighbours that the figure shows: from other samples, where they were looked for."""
    excluded = study.metric_settings("neighbours").get("exclude", ["sample"])
    return "sample" if "sample" in excluded else excluded[0]


def final_comparisons(study: Study) -> dict[str, str]:
    """Group of the matrices of each pair's first comparison at the end of training."""
    chosen = {}
    for name, pair in study.pairs.items():
        final = [one for one in pair.comparisons if one.step is None] or list(pair.comparisons)
        chosen[name] = f"{final[0].reference}~{final[0].candidate}"
    return chosen


def final_step(study: Study) -> int | None:
    """Step at which the trainings that are followed by checkpoint end, where all agree on it."""
    names = {
        side.partition("@")[0]
        for pair in _followed_pairs(study)
        for comparison in pair.comparisons
        for side in (comparison.reference, comparison.candidate)
        if "@" in side
    }
    steps = {study.instances[name].settings.get("steps") for name in names}
    return steps.pop() if len(steps) == 1 else None


def _followed_pairs(study: Study) -> list[Pair]:
    """Pairs of embedding models that are compared at checkpoints too."""
    return [one for one in study.pairs.values() if one.stage == "embedding" and one.has_steps]


def results_of(study: Study, metrics: Iterable[str], suffix: str = "parquet") -> list[str]:
    """Result files of metrics, for every pair."""
    return [
        f"{study.folder}/similarity/{metric}/{pair}.{suffix}"
        for metric in metrics
        if metric in study.metrics
        for pair in study.pairs
    ]


def statuses(study: Study) -> list[str]:
    """Status records of every metric and evaluation, and of the differences between models."""
    differences = [f"{study.folder}/tables/{name}.json" for name in difference_tables(study)]
    return results_of(study, study.metrics, "json") + evaluation_files(study, ".json") + differences


def evaluation_files(
    study: Study, suffix: str, instances: Iterable[str] | None = None
) -> list[str]:
    """What the evaluations leave, of all models or of some; suffix "" for the folders."""
    return [
        f"{study.folder}/benchmarks/{name}/{group}{suffix}"
        for name, group in study.evaluations
        if instances is None or name in instances
    ]


def joined_tables(study: Study) -> dict[str, list[str]]:
    """The tables that join files of jobs, each with those files."""
    found = {
        "similarity": results_of(study, study.metrics),
        "benchmarks": evaluation_files(study, ".parquet"),
        "accuracy": [f"{study.folder}/accuracy/{name}.parquet" for name in study.language_models],
        "dose": [f"{study.folder}/dose/{name}.parquet" for name in study.language_models]
        + [study.record(name) for name in study.named("contrastive")],
    }
    return {name: parts for name, parts in found.items() if parts}


def table_inputs(study: Study) -> dict[str, list[str]]:
    """What the tables are made from: the files that are joined, and the replicates for effects."""
    return joined_tables(study) | {"replicates": results_of(study, study.metrics, "h5")}


def table_names(study: Study) -> list[str]:
    """Names of the tables of the study's results; effects and halves come from similarities."""
    names = list(joined_tables(study))
    if "benchmarks" in names:
        names.append("benchmark_means")
    if "similarity" in names:
        names += ["effects", *(["split_half"] if has_halves(study) else [])]
    return names


def has_halves(study: Study) -> bool:
    """Whether some metric is computed on each half of the samples."""
    views = [study.metric_settings(metric).get("views") or [] for metric in study.metrics]
    return any(set(asked) >= HALVES for asked in views)


def table_files(study: Study, suffixes: Iterable[str] = ("csv", "parquet")) -> dict[str, str]:
    """Files of all tables, by names such as ``similarity_csv``."""
    names = [*table_names(study), *difference_tables(study), *PUBLISHED_TABLES, "claims"]
    return _files_of_tables(study, names, suffixes)


def joined_table_files(study: Study) -> dict[str, str]:
    """Files of the tables of the study's own results."""
    return _files_of_tables(study, table_names(study))


def difference_tables(study: Study) -> list[str]:
    """The table of differences between benchmarked models, where some pair has two of them."""
    return ["differences"] if benchmark_pairs(study) else []


def benchmark_pairs(study: Study) -> list[dict[str, Any]]:
    """Pairs whose two models are benchmarked at the end of training, seed by seed.

    The keys are those of `hrsa.benchmarks.differences.BenchmarkPair`.
    """
    evaluated = study.evaluated
    found = []
    for pair in study.config["pairs"]:
        couples = [
            {"reference": one.reference, "candidate": one.candidate, "seed": one.seed}
            for one in study.pairs[pair["name"]].comparisons
            if {one.reference, one.candidate} <= set(evaluated) and one.reference != one.candidate
        ]
        if couples:
            names = {key: pair[key] for key in ("name", "kind", "reference", "candidate")}
            found.append(names | {"couples": couples})
    return found


def paired_models(study: Study) -> list[str]:
    """Instances of the pairs whose two models are benchmarked."""
    couples = [couple for pair in benchmark_pairs(study) for couple in pair["couples"]]
    names = {couple[side] for couple in couples for side in ("reference", "candidate")}
    return [name for name in study.evaluated if name in names]


def paired_evaluations(study: Study) -> list[str]:
    """The model of each of the evaluations of `paired_models`, in the order of their files."""
    names = paired_models(study)
    return [name for name, _ in study.evaluations if name in names]


def benchmark_margins(study: Study) -> list[float]:
    """Margins of equivalence for differences of scores."""
    margins = study.config["claims"]["margins"]["benchmarks"]
    return [float(margin) for margin in (margins if isinstance(margins, list) else [margins])]


def claimed_tables(study: Study) -> list[str]:
    """Files of the tables that claims are tested on."""
    files = table_files(study, ["parquet"])
    return [files[f"{name}_parquet"] for name in CLAIMED if f"{name}_parquet" in files]


def claims_files(study: Study) -> dict[str, str]:
    """Files of the table of claims."""
    return _files_of_tables(study, ["claims"])


def first_references(study: Study) -> dict[str, str]:
    """The first reference of each pair, which says of what architecture the pair is."""
    return {
        name: pair.comparisons[0].reference.partition("@")[0] for name, pair in study.pairs.items()
    }


def published_table_files(study: Study) -> dict[str, str]:
    """Files of the tables that are made from published numbers."""
    return _files_of_tables(study, PUBLISHED_TABLES)


def published_numbers() -> dict[str, str]:
    """The published numbers, by the names of their files."""
    return {name: f"workflow/hrsa/reporting/published/{name}.csv" for name in PUBLISHED}


def _files_of_tables(
    study: Study, names: Iterable[str], suffixes: Iterable[str] = ("csv", "parquet")
) -> dict[str, str]:
    return {
        f"{name}_{suffix}": f"{study.folder}/tables/{name}.{suffix}"
        for name in names
        for suffix in suffixes
    }


def is_smoke(study: Study) -> bool:
    """Whether sizes are cut so far that the numbers mean nothing, which every figure then says."""
    return study.config["scale"] == "smoke"


def rerun_command(study: Study, files: Iterable[Path]) -> str:
    """The commands that make the study again."""
    # A file elsewhere is told by its name alone: the page may be passed on to others.
    named = [file.name if file.is_absolute() else str(file) for file in files]
    options = "" if named == ["config.yaml"] else f" --configfile {' '.join(named)}"
    return f"snakemake{options}" + (" --config scale=smoke" if is_smoke(study) else "")


def model_kinds(study: Study) -> dict[str, str]:
    """Kind of each model for its colour: what reasoning training lies behind it, if any.

    Of a model from outside a pair says that: the candidate of a pair of kind sft or rlvr is of that
    kind. A merge is of no one kind, and new random weights keep nothing of their parent.
    """
    outside = {
        study.instances[comparison.candidate.partition("@")[0]].model: pair.kind
        for pair in reversed(study.pairs.values())
        for comparison in pair.comparisons
        if pair.kind in ("sft", "rlvr")
    }
    return {one.model: _kind(study, name, outside) for name, one in study.instances.items()}


def _kind(study: Study, instance: str, outside: Mapping[str, str]) -> str:
    one = study.instances[instance]
    if one.source in ("hub", "path"):
        return outside.get(one.model, "base")
    if one.source in SOURCE_KINDS:
        return SOURCE_KINDS[one.source]
    assert one.parent is not None, f"{instance} is made from nothing"
    return _kind(study, one.parent, outside)


def embedding_models(study: Study) -> list[str]:
    """Names of the models that were trained here to embed texts, and of their variants."""
    models = study.config["models"]
    return [name for name in models if trained_by(models, name) == "contrastive"]


def outside_records(study: Study) -> list[str]:
    """Records of models that were not trained here: they may say something of their weights."""
    return [study.record(name) for name in study.named("hub", "path", "reading")]


def facts(study: Study) -> dict[str, Any]:
    """What the report says of the study as a whole."""
    config = study.config
    pretrained = [config["models"][study.instances[name].model] for name in study.named("pretrain")]
    return {
        "name": config["study"],
        "scale": config["scale"],
        "evaluation": config["corpus"]["evaluation"],
        "models": {name: _without_folders(model) for name, model in config["models"].items()},
        "pairs": config["pairs"],
        "datasets": {name: _without_folders(data) for name, data in config["datasets"].items()},
        "benchmarks": _benchmark_names(config["benchmarks"]),
        "wrong_share": model_settings(config, pretrained[0])["wrong_share"] if pretrained else None,
    }


def _benchmark_names(benchmarks: Mapping[str, Any]) -> list[str]:
    """The generated tasks and the suites by name."""
    suites = (one.get("suite") or ", ".join(one["tasks"]) for one in benchmarks["suites"])
    return [*benchmarks["tasks"], *suites]


def _without_folders(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out where on this machine a model or a data set lies."""
    shown = dict(entry)
    if "path" in entry:
        shown["path"] = Path(entry["path"]).name
    return shown
