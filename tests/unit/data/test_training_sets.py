"""Training sets from outside: columns by role, filtered and drawn."""

import json

import pandas as pd
import pytest

from hrsa.data.training_sets import load_training_set
from hrsa.errors import UserError

ROWS = [
    {
        "q": f"question {i}",
        "positives": [f"answer {i}", "another"],
        "neg": ["wrong", "worse"][: i % 3],
        "source": "wiki" if i % 2 else "news",
    }
    for i in range(20)
]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in ROWS))
    return str(path)


def test_columns_and_templates_become_roles(file):
    frame = load_training_set(
        {"path": file, "query": "q", "document": "{positives[0]}", "negatives": "neg"}, seed=0
    )
    assert frame.columns.tolist() == ["query", "document", "negatives"]
    assert frame.iloc[4].tolist() == ["question 4", "answer 4", ["wrong"]]
    assert len(frame) == 20


def test_rows_are_filtered_and_drawn_by_seed(file):
    settings = {"path": file, "query": "q", "document": "q", "where": {"source": "wiki"}}
    whole = load_training_set(settings, seed=0)
    few, more = (load_training_set(settings | {"samples": n}, seed=0) for n in (3, 6))
    other = load_training_set(settings | {"samples": 6}, seed=1)
    assert len(whole) == 10
    assert set(few["query"]) < set(more["query"]) < set(whole["query"])
    assert set(more["query"]) != set(other["query"])


def test_a_missing_field_is_an_empty_text_for_the_recipe_to_count(tmp_path):
    path = tmp_path / "pairs.parquet"
    pd.DataFrame({"q": ["a", None], "d": ["b", "c"]}).to_parquet(path)
    frame = load_training_set({"path": str(path), "query": "q", "document": "d"}, seed=0)
    assert frame["query"].tolist() == ["a", ""]


def test_a_wrong_column_is_told_with_the_nearest(file):
    with pytest.raises(UserError, match="Did you mean `positives`"):
        load_training_set({"path": file, "query": "q", "document": "positive"}, seed=0)


def test_negatives_that_are_no_texts_are_refused(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps({"q": "a", "d": "b", "n": [1, 2]}))
    with pytest.raises(UserError, match="lists of texts"):
        load_training_set(
            {"path": str(path), "query": "q", "document": "d", "negatives": "n"}, seed=0
        )
