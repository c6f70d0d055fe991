"""A study as the rules see it: its folder, its instances, and which files belong together."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hrsa.data.generators import GENERATORS
from hrsa.models.retrieve import wanted_files
from hrsa_workflow.benchmark_groups import LOCAL, TaskGroup, benchmark_groups
from hrsa_workflow.instances import (
    LANGUAGE_MODEL_RECIPES,
    METRICS,
    VARIANTS,
    Instance,
    build_instances,
    datasets_for,
    expand_pairs,
    parse_reference,
    resolve,
    trained_by,
)
from hrsa_workflow.sources import fingerprint, source_path
from hrsa_workflow.strict_yaml import canonical
from hrsa_workflow.training_data import (
    CORPUS_SETTINGS,
    data_files,
    data_names,
    data_parts,
    instructions,
    source_part,
)

RECIPES = ("pretrain", "sft", "rlvr", "continued", "contrastive")
TASK_CORPUS = {
    "TopicClassification": ("topics",),
    "TopicClustering": ("topics",),
    "TopicRetrieval": ("retrieval-documents", "retrieval-queries", "retrieval-qrels"),
    "SolutionRetrieval": ("solution-documents", "solution-queries", "solution-qrels"),
    "TextSimilarity": ("similar-texts",),
    "ParaphrasePairs": ("paraphrases",),
    "WordLanguageBitext": ("bitext",),
}


class Study:
    """A validated configuration with the questions that rules ask of it.

    Parameters
    ----------
    config
        A complete configuration (see `load_config`).
    code
        Gives the code version of a script, by its file name.
    root
        Folder that relative paths in the configuration start from.
    """

    def __init__(
        self, config: dict[str, Any], *, code: Callable[[str], str], root: Path = Path()
    ) -> None:
        self.config = config
        self.code = code
        self.root = root
        self.instances = build_instances(config)
        self.pairs = expand_pairs(config)

    # -- places ----------------------------------------------------------------------------------

    @property
    def folder(self) -> str:
        """Folder of the results."""
        suffix = "-smoke" if self.config["scale"] == "smoke" else ""
        return f"results/{self.config['study']}{suffix}"

    def corpus_files(self, names: Iterable[str]) -> list[str]:
        """Files of the corpus."""
        return [f"{self.folder}/datasets/corpus/{name}.parquet" for name in names]

    def record(self, instance: str) -> str:
        """The record of an instance."""
        return f"{self.folder}/models/{instance}/record.json"

    # -- what there is ---------------------------------------------------------------------------

    def named(self, *sources: str) -> list[str]:
        """Instances that come from one of these sources (recipes, hub, path)."""
        return [name for name, one in self.instances.items() if one.source in sources]

    @property
    def language_models(self) -> list[str]:
        """Instances that write text and were trained here, their parents, and variants of both."""
        models = self.config["models"]
        trained = [
            name
            for name, one in self.instances.items()
            if trained_by(models, one.model) in LANGUAGE_MODEL_RECIPES
        ]
        parents = (self.instances[name].parent for name in trained)
        found = {*trained, *(name for name in parents if name)}
        before = 0
        while len(found) > before:  # variants of variants
            before = len(found)
            found |= {
                name
                for name, one in self.instances.items()
                if one.source in VARIANTS and found & {one.parent, one.second}
            }
        return [name for name in self.instances if name in found]

    def writes_traces(self, instance: str) -> bool:
        """Whether an instance learnt to answer with a trace of reasoning, itself or before it."""
        one = self.instances[instance]
        if one.source == "sft":
            return bool(one.settings["completion"] == "trace")
        return any(self.writes_traces(name) for name in (one.parent, one.second) if name)

    @cached_property
    def schedules(self) -> dict[tuple[int, ...], list[str]]:
        """Instances by the steps of their checkpoints (none for most)."""
        found: dict[tuple[int, ...], list[str]] = {}
        for name, instance in self.instances.items():
            found.setdefault(instance.checkpoints, []).append(name)
        return found

    @property
    def datasets(self) -> list[str]:
        """Names of the data sets."""
        return list(self.config["datasets"])

    @property
    def metrics(self) -> list[str]:
        """Metrics that this study computes."""
        return [name for name in METRICS if name in self.config["metrics"]]

    @property
    def statistics(self) -> dict[str, Any]:
        """Keyword arguments of every metric that goes over layers: uncertainty and memory."""
        settings = self.config["statistics"]
        return {
            "n_blocks": settings["blocks"],
            "n_permutations": settings["permutations"],
            "seed": self.config["seed"],
        }

    def metric_settings(self, name: str) -> dict[str, Any]:
        """Parameters of a metric; none where it is not computed."""
        return self.config["metrics"].get(name, {})

    @property
    def shards(self) -> dict[str, int]:
        """Data sets that are extracted in parts, and in how many."""
        found = {name: entry.get("shards", 1) for name, entry in self.config["datasets"].items()}
        return {name: n_shards for name, n_shards in found.items() if n_shards > 1}

    @property
    def whole_datasets(self) -> list[str]:
        """Data sets that are extracted in one go."""
        return [name for name in self.datasets if name not in self.shards]

    @property
    def extraction_settings(self) -> dict[str, Any]:
        """How activations are extracted; how parts are joined afterwards is no matter of that."""
        settings = self.config["extraction"].items()
        return {name: value for name, value in settings if name != "joined"}

    def datasets_for(self, metric: str) -> list[str]:
        """Names of the data sets that a metric is computed on."""
        return datasets_for(self.config, metric) if metric in self.metrics else []

    @cached_property
    def task_groups(self) -> dict[str, TaskGroup]:
        """Groups of benchmark tasks, each a job for each model."""
        return benchmark_groups(self.config)

    @property
    def evaluations(self) -> list[tuple[str, str]]:
        """Each model with each group of tasks."""
        return [(name, group) for name in self.evaluated for group in self.task_groups]

    @property
    def evaluated(self) -> list[str]:
        """Instances that are benchmarked, and bm25 where it is asked for."""
        benchmarks = self.config["benchmarks"]
        if not self.task_groups:
            return []
        names: list[str] = []
        for entry in benchmarks["models"]:
            model, seed, _ = parse_reference(entry)
            seeds = (
                [seed] if seed is not None else self.config["models"][model].get("seeds", [None])
            )
            names += [resolve(self.config, entry, key="benchmarks.models", seed=s) for s in seeds]
        names += ["bm25"] if benchmarks["bm25"] else []
        return list(dict.fromkeys(names))

    # -- inputs ----------------------------------------------------------------------------------

    def evaluation_inputs(self, instance: str, group: str) -> dict[str, list[str] | str]:
        """Data of a group of generated tasks, and the file of prompts, which BM25 does not read."""
        found: dict[str, list[str] | str] = {}
        if group == LOCAL:
            tasks = self.config["benchmarks"]["tasks"]
            names = dict.fromkeys(file for task in tasks for file in TASK_CORPUS[task])
            found["corpus"] = self.corpus_files(names)
        if self.config["benchmarks"]["prompts"] is not None and instance != "bm25":
            found["prompts"] = str(self.root / self.config["benchmarks"]["prompts"])
        return found

    def compared(self, pair: str, metric: str) -> dict[str, list[str]]:
        """Activations of both sides of a pair, comparison by comparison, in one by data set."""
        return self._sides(pair, "activations", self.datasets_for(metric))

    def neighbours(self, pair: str) -> dict[str, list[str]]:
        """Nearest neighbours of both sides of a pair, in the order of `compared`."""
        files = self._sides(pair, "similarity/neighbours", self.datasets_for("knn"))
        return {f"neighbours_{side}": paths for side, paths in files.items()}

    def _sides(self, pair: str, stem: str, datasets: Iterable[str]) -> dict[str, list[str]]:
        return {
            side: [
                f"{self.folder}/{stem}/{getattr(comparison, side)}/{dataset}.h5"
                for comparison in self.pairs[pair].comparisons
                for dataset in datasets
            ]
            for side in ("reference", "candidate")
        }

    def training_names(self, instance: str) -> list[str]:
        """Names of what an instance is trained on."""
        return data_names(self, instance)

    def training_files(self, instance: str) -> list[str]:
        """Files that an instance is trained on, in the order of their names."""
        return data_files(self, instance)

    @property
    def miner(self) -> str | None:
        """The instance that mines hard negatives, where the study mines."""
        mining = self.config["mining"]
        return resolve(self.config, mining["model"], key="mining.model") if mining else None

    def accuracy_file(self) -> str:
        """The problems that language models are tried on."""
        name = self.config["accuracy"]["data"]
        if name in self.config["training_sets"]:
            return f"{self.folder}/datasets/training/{name}.parquet"
        return self.corpus_files([f"test-{name}"])[0]

    def accuracy_part(self) -> dict[str, Any]:
        """What decides the problems that language models are tried on."""
        name = self.config["accuracy"]["data"]
        if name in self.config["training_sets"]:
            return source_part(self, name)
        return self.corpus_part([f"test-{name}"])

    def source_files(self, instance: str) -> list[str]:
        """Files that an instance from outside is made from."""
        if self.instances[instance].source == "hub":
            return [f"{self.hub_folder(instance)}/retrieved.json"]
        return _model_files(self._path("models", self.instances[instance].model))

    def base_files(self, instance: str) -> list[str]:
        """Files of the model that an instance, an adapter, is merged onto; none for others."""
        base = self._model(instance).get("base")
        if base is None:
            return []
        if isinstance(base, dict):
            return [f"{_download_folder(base)}/retrieved.json"]
        key = f"models.{self.instances[instance].model}.base"
        return _model_files(source_path(base, self.root, key=key))

    def hub_folder(self, instance: str) -> str:
        """Where the download of a hub model lies, shared by all studies."""
        return _download_folder(self._model(instance))

    @property
    def hub_sources(self) -> dict[str, dict[str, str]]:
        """Repository and revision behind each folder of downloads."""
        outside = [self._model(name) for name in self.named("hub", "path")]
        bases = [model["base"] for model in outside if isinstance(model.get("base"), dict)]
        found = [model for model in outside if "hub" in model] + bases
        return {
            _download_folder(one): {"hub": one["hub"], "revision": one.get("revision", "main")}
            for one in found
        }

    def _model(self, instance: str) -> dict[str, Any]:
        return self.config["models"][self.instances[instance].model]

    def dataset_files(self, dataset: str) -> list[str]:
        """Files that a data set is made from: of the corpus, or the one that its path names."""
        entry = self.config["datasets"][dataset]
        if "generator" in entry:
            return self.corpus_files([GENERATORS[entry["generator"]]])
        return [str(self._path("datasets", dataset))] if "path" in entry else []

    def _path(self, section: str, name: str) -> Path:
        text = self.config[section][name]["path"]
        return source_path(text, self.root, key=f"{section}.{name}.path")

    # -- parameters ------------------------------------------------------------------------------

    def evaluation_settings(self, instance: str) -> dict[str, Any]:
        """How a model is read in benchmarks, and the seeds of what tasks draw."""
        names = ("max_length", "batch_size", "dtype", "device")
        settings = {name: self.config["benchmarks"][name] for name in names}
        seeds = self.config["benchmarks"]["seeds"]
        return settings | {
            "seeds": seeds if seeds is not None else [self.config["seed"]],
            "query_template": self.query_template(instance),
            "mteb": version("mteb"),
        }

    def query_template(self, instance: str) -> str | None:
        """How a model reads a prompt and a query: as it, or what it is made from, was trained."""
        if instance == "bm25":
            return None
        here: str | None = instance
        while here is not None:
            one = self.instances[here]
            if one.source == "contrastive":
                return str(one.settings["query_template"])
            here = one.parent
        template: str | None = self.config["benchmarks"]["query_template"]
        return template

    def task_parts(self, group: str) -> dict[str, Any]:
        """What decides the data of each generated task of a group."""
        tasks = self.config["benchmarks"]["tasks"] if group == LOCAL else []
        return {task: self.corpus_part(TASK_CORPUS[task]) for task in tasks}

    def training_settings(self, instance: str) -> dict[str, Any]:
        """A recipe's settings for one instance, the steps of its checkpoints included."""
        one = self.instances[instance]
        checkpoints = {"checkpoints": list(one.checkpoints)}
        if one.source == "contrastive":
            return canonical(
                one.settings | checkpoints | {"instructions": instructions(self, instance)}
            )
        if one.source != "continued":
            return canonical(one.settings | checkpoints)
        matched = self.matched(instance)
        settings = {
            "match": matched.settings | checkpoints | {"seed": matched.train_seed},
            "pretrain": self.pretraining(instance),
        }
        return canonical(settings)

    def training_parts(self, instance: str) -> dict[str, Any]:
        """What decides the content of the files that an instance is trained on."""
        return data_parts(self, instance)

    def gpus(self, instance: str) -> int:
        """GPUs that train an instance together."""
        one = self.instances[instance]
        settings = self.matched(instance).settings if one.source == "continued" else one.settings
        return int(settings.get("gpus", 1))

    def matched(self, instance: str) -> Instance:
        """The SFT instance whose steps and lengths a control matches."""
        match = self.instances[instance].settings["match"]
        name, seed, _ = parse_reference(match)
        # Of a model with several seeds, the first: its examples give the lengths to match.
        seeds = self.config["models"][name].get("seeds", [])
        first = seed if seed is not None else next(iter(seeds), None)
        return self.instances[resolve(self.config, match, key="match", seed=first)]

    def pretraining(self, instance: str) -> dict[str, Any] | None:
        """Settings of the pretraining that an instance descends from, None for one from outside."""
        here: str | None = instance
        while here is not None and self.instances[here].source != "pretrain":
            here = self.instances[here].parent
        return self.instances[here].settings if here else None

    def corpus_part(self, names: Iterable[str]) -> dict[str, Any]:
        """What decides the content of some of the corpus's files."""
        keys = {key for name in names for key in CORPUS_SETTINGS[name]}
        return canonical(
            {
                "seed": self.config["seed"],
                "settings": {key: self.config["corpus"][key] for key in keys},
                "code": self.code("corpus.py"),
            }
        )

    def dataset_part(self, dataset: str) -> dict[str, Any]:
        """What decides the content of a data set."""
        entry = dict(self.config["datasets"][dataset])
        for name in ("metrics", "shards"):  # they do not change its content
            entry.pop(name, None)
        part = {"seed": self.config["seed"], "settings": entry, "code": self.code("dataset.py")}
        if "generator" in entry:
            part["corpus"] = self.corpus_part([GENERATORS[entry["generator"]]])
        elif "path" in entry:
            part["sha256"] = fingerprint(self.dataset_files(dataset))
        return canonical(part)

    def dataset_parts(self, names: Iterable[str]) -> dict[str, Any]:
        """What decides the content of some data sets."""
        return {name: self.dataset_part(name) for name in names}

    def pair_settings(self, pair: str) -> dict[str, Any]:
        """A pair with its comparisons, as plain values."""
        return canonical(asdict(self.pairs[pair]))

    def labels(self, instance: str) -> dict[str, Any]:
        """Columns that name an instance in the tables."""
        if instance == "bm25":
            return {"model": "bm25", "recipe": "bm25", "seed": None, "step": None}
        one = self.instances[instance]
        return {"model": one.model, "recipe": one.source, "seed": one.seed, "step": None}

    def model_source(self, instance: str) -> dict[str, Any]:
        """Where an instance from outside comes from, and the hash of its files if they are here."""
        one = self.instances[instance]
        settings = dict(one.settings)
        if one.source == "path":
            settings["sha256"] = fingerprint(self.source_files(instance))
        if isinstance(settings.get("base"), str):
            settings["base_sha256"] = fingerprint(self.base_files(instance))
        return canonical(settings)


def _model_files(path: Path) -> list[str]:
    """What is read of a model that lies at a path: the file, or those of the folder."""
    if path.is_file():
        return [str(path)]
    names = (str(file.relative_to(path)) for file in path.rglob("*") if file.is_file())
    return [str(path / name) for name in wanted_files(names)]


def _download_folder(source: Mapping[str, Any]) -> str:
    repository, revision = source["hub"], source.get("revision", "main")
    return f"resources/models/{repository.replace('/', '--')}/{revision}"
