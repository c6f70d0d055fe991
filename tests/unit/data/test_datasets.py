"""Data sets from generators and files: their samples, their ids, and what is said of wrong ones."""

import itertools
import json

import pandas as pd
import pytest

from hrsa.data.datasets import load_dataset
from hrsa.errors import UserError


def load(path, **settings):
    return load_dataset({"path": str(path), **settings}, corpus=None, seed=0)


def write_jsonl(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


@pytest.fixture
def table():
    return pd.DataFrame(
        {"q": ["one", "two", "three"], "a": ["1", "2", "3"], "key": ["x", "y", "z"]}
    )


@pytest.fixture
def traces(tmp_path):
    """Forty traces of four difficulties, a blank one and one without a difficulty among them."""
    records = [
        {
            "problem": f"problem {i}",
            "trace": "" if i == 7 else f"step {i} " * (1 + i % 5),
            "difficulty": None if i == 9 else 1 + i % 4,
            "uid": f"p{i}",
        }
        for i in range(40)
    ]
    return write_jsonl(tmp_path / "traces.jsonl", records)


def complaint(path, **settings):
    with pytest.raises(UserError) as error:
        load(path, **settings)
    return str(error.value)


# -- what becomes of a source ------------------------------------------------------------------


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
        assert frame["split"].tolist() == ["test"] * 3


def test_lines_of_a_text_file_are_numbered_samples(tmp_path):
    (tmp_path / "t.txt").write_text("first\n\nthird\n")
    frame = load(tmp_path / "t.txt")
    assert frame["text"].tolist() == ["first", "third"]
    assert frame["id"].tolist() == ["000000", "000002"]


def test_a_missing_label_is_no_class_of_its_own(tmp_path):
    pd.DataFrame({"text": ["a", "b", "c"], "grade": [1, None, 2]}).to_parquet(
        tmp_path / "t.parquet"
    )
    assert load(tmp_path / "t.parquet", label="grade")["label"].tolist() == ["1", None, "2"]
    path = tmp_path / "t.jsonl"
    path.write_text('{"text": "a", "grade": NaN}\n{"text": "b"}\n{"text": "c", "grade": " "}\n')
    with_label = write_jsonl(tmp_path / "u.jsonl", [{"text": "a", "grade": "NaN"}])
    assert load(path, label="grade")["label"].isna().all()
    assert load(with_label, label="grade")["label"].tolist() == ["NaN"]


def test_numbered_classes_get_their_names(tmp_path):
    path = write_jsonl(tmp_path / "news.jsonl", [{"text": f"t{i}", "label": i} for i in range(3)])
    assert load(path, label="label", label_names=["World", "Sports", "Business"])[
        "label"
    ].tolist() == ["World", "Sports", "Business"]
    names = {"0": "a", "1": "b"}
    assert "no name for the label '2', which row 000002 of" in complaint(
        path, label="label", label_names=names
    )


def test_a_column_says_which_split_a_sample_belongs_to(tmp_path):
    path = write_jsonl(tmp_path / "t.jsonl", [{"text": "a", "part": "train"}])
    assert load(path, split="part")["split"].tolist() == ["train"]
    assert load(path)["split"].tolist() == ["test"]


def test_rows_with_a_hole_are_left_out_and_counted(traces, capsys):
    frame = load(traces, text="{problem}: {trace} ({difficulty})")
    assert len(frame) == 39  # a blank trace makes no hole, a missing difficulty does
    assert not frame["text"].str.contains("None").any()
    assert "1 of 40 rows left out: without a text" in capsys.readouterr().out
    assert "000007" not in set(load(traces, text="trace")["id"])


# -- which samples are taken -------------------------------------------------------------------


def test_samples_are_drawn_by_the_seed_and_stay_in_order(tmp_path):
    (tmp_path / "t.txt").write_text("\n".join(f"text {i}" for i in range(50)))
    frames = [load(tmp_path / "t.txt", samples=10) for _ in range(2)]
    pd.testing.assert_frame_equal(*frames)
    assert frames[0]["id"].is_monotonic_increasing
    assert len(frames[0]) == 10
    assert set(load(tmp_path / "t.txt", samples=10, seed=1)["id"]) != set(frames[0]["id"])


def test_a_sample_keeps_its_id_and_text_whatever_is_filtered_shuffled_or_capped(traces):
    whole = load(traces, text="trace").set_index("id")["text"]
    for settings in (
        {"where": {"difficulty": [2, 3]}},
        {"shuffle": True},
        {"samples": 7},
        {"max_characters": 300},
        {"stratify": "difficulty", "samples": 8, "shuffle": True},
    ):
        part = load(traces, text="trace", **settings).set_index("id")["text"]
        assert 0 < len(part) <= len(whole)
        assert part.equals(whole[part.index])


def test_a_smaller_sample_is_part_of_a_larger_one(traces):
    for settings in ({}, {"stratify": "difficulty"}, {"where": {"difficulty": {"min": 2}}}):
        several = [
            set(load(traces, text="trace", samples=n, **settings)["id"]) for n in (3, 9, 20, 1000)
        ]
        assert all(small < large for small, large in itertools.pairwise(several))


def test_a_filter_does_not_change_who_is_drawn_first(traces):
    everyone = load(traces, text="trace", shuffle=True)["id"].tolist()
    some = load(traces, text="trace", shuffle=True, where={"difficulty": [1, 4]})["id"].tolist()
    assert some == [one for one in everyone if one in set(some)]
    assert everyone != sorted(everyone)


def test_traces_come_by_difficulty(traces):
    frame = load(
        traces,
        text="{problem}\n{trace}",
        id="uid",
        label="difficulty",
        where={"difficulty": {"min": 3}},
        stratify="difficulty",
        samples=10,
    )
    assert frame["label"].value_counts().to_dict() == {"3": 5, "4": 5}
    assert frame["id"].str.startswith("p").all()


def test_rows_without_a_stratum_are_left_out_and_counted(traces, capsys):
    assert "000009" not in set(load(traces, text="trace", stratify="difficulty")["id"])
    assert "left out: without a value to stratify by" in capsys.readouterr().out


def test_characters_are_capped_over_all_texts(traces):
    frame = load(traces, text="trace", max_characters=200)
    assert 150 < frame["text"].str.len().sum() <= 200
    assert set(frame["id"]) < set(load(traces, text="trace", max_characters=500)["id"])
    assert "`max_characters: 3` is less than the first text drawn" in complaint(
        traces, text="trace", max_characters=3
    )


# -- what is said of wrong input ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"text": "body"}, "no column 'body' (asked for by `text:`); it has q, a, key"),
        ({"text": "{q} {body}"}, "no column 'body'"),
        ({"text": "q", "id": "same"}, "no column 'same' (asked for by `id:`)"),
        ({"text": "q", "label": "Keys"}, "it has q, a, key. Did you mean `key`?"),
        ({"text": "q", "where": {"kee": "x"}}, "(asked for by `where:`)"),
        ({"text": "q", "stratify": "kee", "samples": 1}, "(asked for by `stratify:`)"),
        ({}, "no column 'text' (asked for by `text:` (which is 'text' when left out)); it has"),
        ({"text": "q.a"}, "An entry of a nested column is written `q[a]`."),
    ],
)
def test_a_missing_column_is_named_with_those_there_are(tmp_path, table, settings, said):
    table.to_csv(tmp_path / "t.csv", index=False)
    assert said in complaint(tmp_path / "t.csv", **settings)


def test_ids_must_differ(tmp_path, table):
    table.assign(key="x").to_csv(tmp_path / "t.csv", index=False)
    text = complaint(tmp_path / "t.csv", text="q", id="key")
    assert "'x' more than once (rows 000000, 000001, 000002)" in text


def test_ids_that_differ_among_the_rows_that_are_left_are_enough(tmp_path, table):
    table.assign(key=["x", "x", "y"]).to_csv(tmp_path / "t.csv", index=False)
    frame = load(tmp_path / "t.csv", text="q", id="key", where={"a": {"min": 2}})
    assert frame["id"].tolist() == ["x", "y"]


def test_a_row_without_an_id_is_refused(tmp_path, table):
    table.assign(key=["x", "", "z"]).to_csv(tmp_path / "t.csv", index=False)
    assert "Row 000001 of" in complaint(tmp_path / "t.csv", text="q", id="key")


def test_numbers_are_not_taken_for_texts(tmp_path):
    path = write_jsonl(tmp_path / "t.jsonl", [{"text": "a"}, {"text": 4}])
    text = complaint(path)
    assert "row 000001 of" in text
    assert 'holds the number 4. Name another column, or write the template `text: "{text}"`' in text
    assert load(path, text="{text}")["text"].tolist() == ["a", "4"]


def test_a_list_is_no_class_and_no_id(tmp_path):
    path = write_jsonl(tmp_path / "t.jsonl", [{"text": "a", "tags": ["x"]}])
    assert "`label:` must name single values, but row 000000" in complaint(path, label="tags")
    assert load(path, label="tags[0]")["label"].tolist() == ["x"]


def test_half_of_a_surrogate_pair_is_refused(tmp_path):
    (tmp_path / "t.jsonl").write_text('{"text": "good"}\n{"text": "cut \\ud83d"}\n')
    text = complaint(tmp_path / "t.jsonl")
    assert "Row 000001 of" in text
    assert "half of a surrogate pair at character 4" in text


def test_a_file_without_text_is_refused(tmp_path):
    (tmp_path / "t.txt").write_text("\n \n")
    assert "holds no text: every row is blank in `text: text`" in complaint(tmp_path / "t.txt")


def test_a_table_of_samples_survives_a_parquet_file(traces, tmp_path):
    frame = load(traces, text="trace", label="difficulty", samples=9)
    frame.to_parquet(tmp_path / "out.parquet", index=False)
    back = pd.read_parquet(tmp_path / "out.parquet")
    assert back["id"].tolist() == frame["id"].tolist()
    assert back["text"].tolist() == frame["text"].tolist()
    assert list(back.columns) == ["id", "text", "label", "split"]


def test_a_generated_data_set_names_the_splits_there_are(tmp_path):
    corpus = pd.DataFrame({"id": ["t0"], "text": ["a"], "label": ["x"], "split": ["train"]})
    corpus.to_parquet(tmp_path / "topics.parquet")
    with pytest.raises(UserError, match="no text of the split 'test'; it has train"):
        load_dataset({"generator": "topics", "split": "test"}, corpus=tmp_path, seed=0)
