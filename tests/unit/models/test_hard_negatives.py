"""Hard negatives: the nearest documents that score clearly below the positive."""

import numpy as np
import pandas as pd
import pytest

from hrsa.errors import UserError
from hrsa.models.contrastive import embedding_model, save
from hrsa.models.hard_negatives import load_miner, mine

MARGIN = 0.05
WORDS = ["apple", "bread", "cloud", "dance", "eagle", "flame", "grape", "honey", "ivory", "jelly"]


@pytest.fixture(scope="module")
def miner(tmp_path_factory, qwen_folder):
    folder = tmp_path_factory.mktemp("miner") / "miner"
    save(embedding_model(qwen_folder, max_length=64), folder)
    return load_miner(folder)


@pytest.fixture(scope="module")
def pairs():
    rng = np.random.default_rng(0)
    documents = [" ".join(rng.choice(WORDS, size=4, replace=False)) for _ in range(40)]
    frame = pd.DataFrame({"query": [f"{text} ?" for text in documents], "document": documents})
    # A query with a second answer.
    return pd.concat(
        [frame, pd.DataFrame({"query": [frame["query"][0]], "document": [documents[1]]})],
        ignore_index=True,
    )


def cosines(model, query, documents):
    rows = model.encode([query, *documents], normalize_embeddings=True).astype(np.float64)
    return rows[1:] @ rows[0]


@pytest.mark.slow
def test_negatives_are_the_nearest_documents_below_the_margin_of_the_lowest_positive(miner, pairs):
    mined = mine(miner, pairs, name="p", negatives=3, relative_margin=MARGIN)
    assert mined[["query", "document"]].equals(pairs)
    documents = pairs["document"].unique().tolist()
    positives = pairs.groupby("query")["document"].agg(set)
    found = 0
    for row in mined.itertuples():
        scores = dict(zip(documents, cosines(miner, row.query, documents), strict=True))
        lowest = min(scores[one] for one in positives[row.query])
        allowed = [d for d in documents if scores[d] <= lowest - MARGIN * abs(lowest) + 1e-6]
        allowed = [d for d in allowed if d not in positives[row.query]]
        nearest = sorted((scores[d] for d in allowed), reverse=True)[:3]
        np.testing.assert_allclose(row.negative_scores, nearest, atol=1e-5)
        assert set(row.negatives) <= set(allowed)
        if len(row.negatives):
            assert row.positive_score == pytest.approx(scores[row.document], abs=1e-5)
        found += len(row.negatives)
    assert found > 60


@pytest.mark.slow
def test_short_lists_stay_short_and_are_reported(miner, pairs, capsys):
    strict = mine(miner, pairs, name="nq", negatives=3, relative_margin=1.0)
    lengths = strict["negatives"].map(len)
    assert len(strict) == len(pairs)
    assert (lengths < 3).any()
    assert f"{(lengths < 3).sum()} with fewer than 3 negatives" in capsys.readouterr().out


@pytest.mark.slow
def test_a_pair_gets_negatives_of_its_own_kind(miner, pairs):
    kinds = pairs.assign(kind=["a" if i % 2 else "b" for i in range(len(pairs))])
    mined = mine(miner, kinds, name="p", negatives=2, relative_margin=MARGIN)
    assert mined["kind"].tolist() == kinds["kind"].tolist()
    of_kind = kinds.groupby("kind")["document"].agg(set)
    assert mined["negatives"].map(len).sum() > 20
    assert all(set(row.negatives) <= of_kind[row.kind] for row in mined.itertuples())


@pytest.mark.slow
def test_queries_can_be_read_with_an_instruction(miner, pairs):
    template = "Instruct: {instruction}\nQuery: {query}"
    options = {"name": "p", "negatives": 3, "relative_margin": MARGIN}
    bare = mine(miner, pairs, **options)
    instructed = mine(
        miner, pairs, **options, query_template=template, instruction="Find the same words"
    )
    assert instructed["query"].equals(pairs["query"])
    assert not np.allclose(bare["positive_score"], instructed["positive_score"], equal_nan=True)


def test_a_language_model_does_not_mine(qwen_folder):
    with pytest.raises(UserError, match="is no embedding model"):
        load_miner(qwen_folder)
