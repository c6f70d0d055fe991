"""What is checked of data sets from outside before any job runs."""

import pytest

from hrsa.errors import UserError
from hrsa_workflow.config import load_config

STUDY = {
    "study": "mine",
    "models": {"one": {"hub": "owner/one"}, "other": {"hub": "owner/other"}},
    "pairs": [{"name": "one-other", "reference": "one", "candidate": "other"}],
}
PAPER = {
    "cot-hard": {
        "hub": "zwhe99/DeepMath-103K",
        "data_split": "train",
        "text": "{question}\n{r1_solution_1}",
        "label": "difficulty",
        "where": {"difficulty": {"min": 8}},
        "samples": 300,
        "max_characters": 3_000_000,
        "shuffle": True,
    },
    "mmlu-pro": {
        "hub": "TIGER-Lab/MMLU-Pro",
        "text": "{question}\n{options:lettered}",
        "id": "question_id",
        "label": "category",
        "where": {"category": {"not": ["other"]}, "question_id": [1, "2", True]},
        "samples": 700,
        "stratify": "category",
    },
    "ag-news": {
        "hub": "fancyzhx/ag_news",
        "data_split": ["train", "test"],
        "label": "label",
        "label_names": {1: "World", 2: "Sports"},
        "samples": 2000,
        "stratify": ["split", "label"],
        "allocation": "proportional",
        "seed": 1,
    },
}


def load(datasets, **study):
    return load_config(STUDY | {"datasets": datasets} | study)


def complaint(datasets, **study):
    with pytest.raises(UserError) as error:
        load(datasets, **study)
    return str(error.value)


def of_hub(**settings):
    return {"news": {"hub": "fancyzhx/ag_news", **settings}}


def test_the_corpora_of_the_paper_are_valid():
    datasets = load(PAPER)["datasets"]
    assert datasets["mmlu-pro"]["where"]["question_id"] == [1, "2", True]
    assert datasets["ag-news"]["label_names"] == {"1": "World", "2": "Sports"}
    assert datasets["cot-hard"]["revision"] == "main"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"allocation": "equal"}, "`datasets.news.allocation` is given without `stratify`"),
        ({"stratify": "label"}, "without `samples` or `max_characters`"),
        ({"label_names": ["a"]}, "`datasets.news.label_names` is given without `label`"),
        ({"where": {"level": {"min": 3, "max": 1}}}, "has `min: 3` above `max: 1`"),
        ({"text": "{question"}, "`datasets.news.text`: The template"),
        ({"where": {"level": {"mni": 3}}}, "unknown key `mni` in `datasets.news.where.level`"),
        ({"where": {"level": {"mni": 3}}}, "Did you mean `min`?"),
        ({"where": {"level": {"min": "3"}}}, "`datasets.news.where.level.min` is '3'"),
        ({"where": {"level": []}}, "`datasets.news.where.level` is empty"),
        ({"where": {"level": None}}, "`datasets.news.where.level` is None; allowed is"),
        ({"samples": 3, "shards": 4}, "is 4, but `samples` leaves 3 at most"),
        ({"samples": 0}, "`datasets.news.samples` is 0; allowed is a number of at least 1"),
        ({"stratfy": "label"}, "Did you mean `stratify`?"),
        ({"path": "x.csv"}, "unknown key `path` in `datasets.news`"),
    ],
)
def test_settings_that_cannot_hold_are_refused(settings, said):
    assert said in complaint(of_hub(**settings))


def test_a_probe_needs_labels():
    metrics = {"metrics": {"probe": {"dataset": "news"}}}
    assert "`datasets.news` names no `label`" in complaint(of_hub(), **metrics)
    assert load(of_hub(label="label"), **metrics)["metrics"]["probe"]["dataset"] == "news"


def test_a_file_that_is_not_utf8_passes_until_its_job_names_the_line(tmp_path):
    (tmp_path / "mine.txt").write_bytes(b"caf\xe9\n")
    study = STUDY | {"datasets": {"mine": {"path": "mine.txt"}}}
    assert load_config(study, root=tmp_path)["datasets"]["mine"] == {"path": "mine.txt"}


def test_a_parquet_file_that_is_none_is_refused(tmp_path):
    (tmp_path / "mine.parquet").write_bytes(b"no parquet")
    study = STUDY | {"datasets": {"mine": {"path": "mine.parquet"}}}
    with pytest.raises(UserError, match=r"`datasets.mine.path` is `mine.parquet`, which cannot be"):
        load_config(study, root=tmp_path)
