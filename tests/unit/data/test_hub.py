"""Data sets of the hub: configurations, splits, classes and ids, and errors in one sentence."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from datasets import ClassLabel, Dataset, Features, List, Value

from hrsa.data import hub
from hrsa.data.datasets import load_dataset
from hrsa.data.hub import read_hub
from hrsa.errors import UserError

ROOT = Path(__file__).parents[3]
NEWS = Features({"text": Value("string"), "label": ClassLabel(names=["World", "Sports"])})
QUESTIONS = Features(
    {
        "question_id": Value("int64"),
        "question": Value("string"),
        "options": List(Value("string")),
        "category": Value("string"),
    }
)


def write_news(folder):
    for split, n in (("train", 12), ("test", 6)):
        rows = {"text": [f"{split} {i}" for i in range(n)], "label": [i % 2 for i in range(n)]}
        Dataset.from_dict(rows, features=NEWS).to_parquet(str(folder / f"{split}-00000.parquet"))


def write_questions(folder):
    for name in ("hard", "easy"):
        (folder / name).mkdir(parents=True)
        rows = {
            "question_id": [70, 71, 90],
            "question": [f"{name} {i}?" for i in range(3)],
            "options": [["yes", "no"], ["a", "b", "c"], ["d"]],
            "category": ["law", "math", "law"],
        }
        questions = Dataset.from_dict(rows, features=QUESTIONS)
        questions.to_parquet(str(folder / name / "test.parquet"))
    configs = [
        {"config_name": name, "data_files": [{"split": "test", "path": f"{name}/test.parquet"}]}
        for name in ("hard", "easy")
    ]
    (folder / "README.md").write_text(f"---\nconfigs: {json.dumps(configs)}\n---\n")


def write_lines(folder):
    rows = [json.dumps({"text": f"line {i}"}) + "\n" for i in range(3)]
    (folder / "test.jsonl").write_text("".join(rows))


@pytest.fixture
def repositories(tmp_path, monkeypatch):
    """Folders in place of the hub; the library reads both in the same way."""
    import datasets

    for name, write in (("fancyzhx/news", write_news), ("TIGER-Lab/questions", write_questions)):
        folder = tmp_path / "datasets" / name
        folder.mkdir(parents=True)
        write(folder)
    monkeypatch.setattr(hub, "_address", lambda name: str(tmp_path / "datasets" / name))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "datasets"


def load(repository, **settings):
    return load_dataset({"hub": repository, **settings}, corpus=None, seed=0)


def complaint(repository, **settings):
    with pytest.raises(UserError) as error:
        load(repository, **settings)
    return str(error.value)


def test_classes_have_their_names_and_splits_are_those_of_the_hub(repositories):
    frame = load("fancyzhx/news", data_split=["train", "test"], label="label")
    assert frame["label"].tolist() == ["World", "Sports"] * 9
    assert frame["split"].tolist() == ["train"] * 12 + ["test"] * 6
    assert frame["id"].tolist()[11:13] == ["train-000011", "test-000000"]
    assert frame["text"].tolist()[11:13] == ["train 11", "test 0"]


def test_a_probe_gets_equally_many_of_each_split_and_class(repositories):
    frame = load(
        "fancyzhx/news",
        data_split=["train", "test"],
        label="label",
        stratify=["split", "label"],
        samples=8,
    )
    assert set(frame.groupby(["split", "label"]).size()) == {2}


def test_an_id_is_the_same_in_a_part_of_a_split(repositories):
    whole = load("fancyzhx/news", data_split="train").set_index("id")["text"]
    part = load("fancyzhx/news", data_split="train[3:9]+test[50%:]").set_index("id")["text"]
    assert part.index.tolist() == [f"train-{i:06d}" for i in range(3, 9)] + [
        f"test-{i:06d}" for i in range(3, 6)
    ]
    of_train = part[part.index.str.startswith("train")]
    assert of_train.equals(whole[of_train.index])
    assert load("fancyzhx/news")["id"].tolist() == [f"test-{i:06d}" for i in range(6)]


def test_questions_have_lettered_options_and_their_own_ids(repositories):
    frame = load(
        "TIGER-Lab/questions",
        name="hard",
        text="{question}\n{options:lettered}",
        id="question_id",
        label="category",
        where={"category": "law"},
    )
    assert frame["text"].tolist() == ["hard 0?\nA. yes\nB. no", "hard 2?\nA. d"]
    assert frame["id"].tolist() == ["70", "90"]


def test_only_named_columns_are_read(repositories, monkeypatch):
    table = read_hub("fancyzhx/news")
    read = []
    monkeypatch.setattr(Dataset, "select_columns", _recording(read, Dataset.select_columns))
    assert table.values("text", "text")[0] == "test 0"
    assert read == [["text"]]


def _recording(read, select_columns):
    def record(self, columns):
        read.append(columns)
        return select_columns(self, columns)

    return record


@pytest.mark.parametrize(
    ("repository", "settings", "said"),
    [
        ("TIGER-Lab/questions", {}, "has several configurations: hard, easy. Name one"),
        ("TIGER-Lab/questions", {"name": "hrd"}, "no configuration 'hrd'; it has hard, easy."),
        ("TIGER-Lab/questions", {"name": "hrd"}, "Did you mean `hard`?"),
        ("fancyzhx/news", {"data_split": "tset"}, "has no split 'tset'"),
        ("fancyzhx/news", {"data_split": "tset"}, "it has train, test. Did you mean `test`?"),
        ("fancyzhx/news", {"data_split": "test[1:2:3]"}, "`data_split:` cannot be read"),
        ("fancyzhx/news", {"data_split": ["test", "test[:1]"]}, "'test-000000' more than once"),
        ("fancyzhx/news", {"text": "body"}, "no column 'body' (asked for by `text:`); it has text"),
    ],
)
def test_what_is_missing_is_named_with_what_there_is(repositories, repository, settings, said):
    assert said in complaint(repository, **settings)


# `datasets` reads the hub's address when it is imported: a process of its own for all cases.
CASES = {
    "good": {"hub": "fancyzhx/news", "label": "label", "samples": 3},
    "missing": {"hub": "fancyzhx/none"},
    "gated": {"hub": "owner/gated"},
    "revision": {"hub": "fancyzhx/news", "revision": "v9"},
    "configuration": {"hub": "TIGER-Lab/questions", "name": "hrd"},
    "empty": {"hub": "owner/empty"},
    "damaged once": {"hub": "owner/once"},
    "damaged": {"hub": "owner/twice"},
    "healed": {"hub": "owner/twice"},
    "changed": {"hub": "owner/lines"},
}
SCRIPT = """
import json, sys
from hrsa.data.datasets import load_dataset
from hrsa.errors import UserError
said = {}
for name, settings in json.loads(sys.argv[1]).items():
    try:
        said[name] = load_dataset(settings, corpus=None, seed=0).to_dict("list")
    except UserError as error:
        said[name] = str(error)
print("\\n" + json.dumps(said))
"""


TOKEN = "hf_thisIsASecretOfTheTests"


def outcomes(cases, environment, home):
    """Run the cases in a process that keeps what it downloads in `home`; their results and log."""
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(cases)],
        env=environment | {"HF_HOME": str(home), "HF_TOKEN": TOKEN},
        cwd=home.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1]), run.stdout + run.stderr


@pytest.fixture(scope="module")
def from_the_hub(tmp_path_factory):
    """What each case gives over HTTP, the log, and the folder of downloads."""
    sys.path.append(str(ROOT / "tests" / "hub"))
    from local_hub import LocalHub

    root = tmp_path_factory.mktemp("hub")
    for name, write in (
        ("fancyzhx/news", write_news),
        ("owner/gated", write_news),
        ("owner/once", write_news),
        ("owner/twice", write_news),
        ("owner/lines", write_lines),
        ("TIGER-Lab/questions", write_questions),
    ):
        folder = root / "datasets" / name
        folder.mkdir(parents=True)
        write(folder)
    (root / "datasets" / "owner" / "empty").mkdir()
    (root / "datasets" / "owner" / "gated" / "README.md").write_text("Gated.")
    with LocalHub(root) as server:
        server.gate("owner/gated", "hf_other")
        server.cut("*/news/*test-00000.parquet*", 200)
        damaged = bytearray((root / "datasets/owner/once/test-00000.parquet").read_bytes())
        damaged[10] ^= 1
        (root / "damaged.parquet").write_bytes(damaged)
        (root / "other.jsonl").write_text('{"text": "other"}\n')
        # of large files, what the hub says stays and the bytes of the store differ
        for name, times in (("once", 1), ("twice", 2)):
            of_store = f"/datasets/owner/{name}/[0-9a-f]*/test-00000.parquet"
            server.replace(of_store, root / "damaged.parquet", times=times)
        server.replace("*/lines/resolve/*.jsonl", root / "other.jsonl")
        said, log = outcomes(CASES, server.environment(root / "home"), root / "home")
        sent = [
            r.path for r in server.requests if r.of_store and r.path.endswith("/test-00000.parquet")
        ]
        assert [sum(f"/{name}/" in path for path in sent) for name in ("once", "twice")] == [2, 3]
        assert sum("/news/" in path for path in sent) > 1
    return said, log, root / "home"


def test_a_data_set_comes_over_a_network_that_breaks_once(from_the_hub):
    said, log, _ = from_the_hub
    assert len(said["good"]["id"]) == 3
    assert set(said["good"]["label"]) <= {"World", "Sports"}
    assert "hub:fancyzhx/news: 6 rows at commit " in log


def test_bytes_that_are_not_what_the_hub_states_are_fetched_again(from_the_hub):
    for case in ("damaged once", "healed"):
        assert from_the_hub[0][case]["text"] == [f"test {i}" for i in range(6)]


@pytest.mark.parametrize(
    ("case", "sentence"),
    [
        ("missing", "hub:fancyzhx/none does not exist, or is private. Correct `hub:`"),
        ("gated", "hub:owner/gated is gated: accept its terms"),
        ("revision", "hub:fancyzhx/news has no revision 'v9'. Correct `revision:`"),
        ("configuration", "has no configuration 'hrd'; it has hard, easy."),
        ("empty", "hub:owner/empty could not be had from the hub: "),
        ("damaged", "test-00000.parquet is not what the hub states ("),
        ("changed", "test.jsonl is not what the hub states (57 bytes, git "),
    ],
)
def test_what_the_hub_refuses_is_said_in_a_sentence(from_the_hub, case, sentence):
    assert sentence in from_the_hub[0][case]
    assert "\n" not in from_the_hub[0][case]


def test_the_token_is_written_nowhere(from_the_hub):
    _, log, home = from_the_hub
    files = [path for path in home.rglob("*") if path.is_file()]
    assert files
    assert TOKEN not in log
    assert not any(TOKEN.encode() in path.read_bytes() for path in files)


def test_a_hub_out_of_reach_is_said_in_a_sentence(tmp_path):
    offline = os.environ | {"HF_HUB_OFFLINE": "1"}
    said, log = outcomes({"case": CASES["good"]}, offline, tmp_path / "home")
    assert "the hub cannot be reached" in said["case"]
    assert TOKEN not in log
