"""Data sets from generators and files, and what is said of those that are wrong."""

import pandas as pd
import pytest

from hrsa.data.datasets import load_dataset
from hrsa.errors import UserError


def load(path, **settings):
    return load_dataset({"path": str(path), **settings}, corpus=None, seed=0)


@pytest.fixture
def table():
    return pd.DataFrame(
        {"q": ["one", "two", "three"], "a": ["1", "2", "3"], "key": ["x", "y", "z"]}
    )


def test_every_kind_of_file_gives_the_same_table(tmp_path, table):
    table.to_csv(tmp_path / "t.csv", index=False)
    table.to_parquet(tmp_path / "t.parquet", index=False)
    table.to_json(tmp_path / "t.jsonl", orient="records", lines=True)
    frames = [
        load(tmp_path / f"t.{kind}", text="{q}: {a}", id="key", label="a")
        for kind in ("csv", "parquet", "jsonl")
    ]
    for frame in frames:
        assert frame["text"].tolist() == ["one: 1", "two: 2", "three: 3"]
        assert frame["id"].tolist() == ["x", "y", "z"]
        assert frame["label"].tolist() == ["1", "2", "3"]


def test_lines_of_a_text_file_are_numbered_samples(tmp_path):
    (tmp_path / "t.txt").write_text("first\n\nthird\n")
    frame = load(tmp_path / "t.txt")
    assert frame["text"].tolist() == ["first", "third"]
    assert frame["id"].tolist() == ["000000", "000002"]


def test_samples_are_drawn_by_the_seed_and_stay_in_order(tmp_path):
    (tmp_path / "t.txt").write_text("\n".join(f"text {i}" for i in range(50)))
    frames = [load(tmp_path / "t.txt", samples=10) for _ in range(2)]
    pd.testing.assert_frame_equal(*frames)
    assert frames[0]["id"].is_monotonic_increasing
    assert len(frames[0]) == 10


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"text": "body"}, "no column 'body' (asked for by `text:`); it has q, a, key"),
        ({"text": "{q} {body}"}, "no column 'body'"),
        ({"text": "q", "id": "same"}, "no column 'same' (asked for by `id:`)"),
    ],
)
def test_a_missing_column_is_named_with_those_there_are(tmp_path, table, settings, said):
    table.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(UserError) as error:
        load(tmp_path / "t.csv", **settings)
    assert said in str(error.value)


def test_ids_must_differ(tmp_path, table):
    table.assign(key="x").to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(UserError, match="'x' more than once"):
        load(tmp_path / "t.csv", text="q", id="key")


def test_a_file_without_text_is_refused(tmp_path):
    (tmp_path / "t.txt").write_text("\n \n")
    with pytest.raises(UserError, match="holds no text"):
        load(tmp_path / "t.txt")


def test_other_kinds_of_file_are_refused(tmp_path):
    (tmp_path / "t.docx").write_text("text")
    with pytest.raises(UserError, match=r"ends in '\.docx'; readable are \.jsonl"):
        load(tmp_path / "t.docx")
