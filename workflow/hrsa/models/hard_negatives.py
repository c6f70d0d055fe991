"""Hard negatives: documents that an embedding model takes for the answer although they are not.

Positive-aware mining (Moreira et al. 2024, NV-Retriever, arXiv 2407.15831, "TopK-PercPos"): of the
documents nearest to a query, those that score at most a share of its positive's score, since what
scores higher is often an answer that nobody marked. By `sentence_transformers`.
"""

from pathlib import Path

import pandas as pd
from datasets import Dataset
from sentence_transformers import SentenceTransformer
from sentence_transformers.util import mine_hard_negatives

from hrsa.errors import UserError
from hrsa.models.embedding import embedding_settings
from hrsa.models.instructions import SPLIT_POINT, instruction_prompt
from hrsa.models.training_pairs import clean_pairs

# Scores that are held at once, queries times documents.
SCORES_AT_ONCE = 2**26
COLUMNS = ["query", "document", "kind", "positive_score", "negatives", "negative_scores"]


def load_miner(folder: Path) -> SentenceTransformer:
    """Load the embedding model that mines, checked: nothing in it is unpickled.

    Raises
    ------
    UserError
        The model is no embedding model.
    """
    if embedding_settings(folder) is None:
        raise UserError(
            f"`mining.model` is `{folder.name}`, which is no embedding model (its folder has no "
            "modules.json). Name a model of recipe contrastive, or one that sentence-transformers "
            "saved."
        )
    return SentenceTransformer(str(folder), local_files_only=True)


def mine(
    model: SentenceTransformer,
    pairs: pd.DataFrame,
    *,
    name: str,
    negatives: int,
    relative_margin: float,
    candidates: int = 100,
    query_template: str | None = None,
    instruction: str | None = None,
    batch_size: int = 64,
) -> pd.DataFrame:
    """Find hard negatives for every pair of a training set.

    Parameters
    ----------
    model : SentenceTransformer
    pairs : DataFrame
        Columns query, document; kind (negatives come from the pair's own kind); other columns go.
    name : str
        Of the set, for errors.
    negatives : int
        Most negatives for a pair.
    relative_margin : float
        0.05: a negative scores at most 95 % of the positive (of the lowest, where a query has
        several).
    candidates : int
        Nearest documents among which negatives are looked for.
    query_template, instruction : str, optional
        How the model reads queries; None: with the prompt that its own folder says.
    batch_size : int

    Returns
    -------
    DataFrame
        Columns `COLUMNS` (kind where it is given), a row for each of `pairs`; `negatives` (hardest
        first) may be shorter than asked for, or empty. Repeated pairs have the same list and blank
        ones none: the training drops and counts them.
    """
    kept, _ = clean_pairs(pairs, name)
    kinds = kept.groupby("kind") if "kind" in kept else [(None, kept)]
    prompt = instruction_prompt(query_template, instruction) if query_template else None
    parts = [
        _mine_part(
            model,
            part,
            negatives=negatives,
            relative_margin=relative_margin,
            candidates=max(candidates, negatives),
            prompt=prompt,
            batch_size=batch_size,
        )
        for _, part in kinds
    ]
    mined = pd.concat(parts)
    short = int((mined["negatives"].map(len) < negatives).sum())
    print(
        f"{name}: {len(mined)} pairs, {short} with fewer than {negatives} negatives, "
        f"{int((mined['negatives'].map(len) == 0).sum())} with none",
        flush=True,
    )
    found = ["query", "document", "positive_score", "negatives", "negative_scores"]
    every = pairs.merge(mined[found], on=["query", "document"], how="left")
    for column in ("negatives", "negative_scores"):
        every[column] = [one if isinstance(one, list) else [] for one in every[column]]
    return every[[column for column in COLUMNS if column in every]]


def _mine_part(
    model: SentenceTransformer,
    part: pd.DataFrame,
    *,
    negatives: int,
    relative_margin: float,
    candidates: int,
    prompt: str | None,
    batch_size: int,
) -> pd.DataFrame:
    # The space before a query is the query's own: see `instructions`.
    before = SPLIT_POINT if prompt else ""
    found = mine_hard_negatives(
        Dataset.from_dict(
            {
                "query": [before + query for query in part["query"]],
                "document": part["document"].tolist(),
            }
        ),
        model,
        num_negatives=negatives,
        relative_margin=relative_margin,
        range_max=candidates,
        sampling_strategy="top",
        query_prompt=prompt,
        output_format="labeled-list",
        output_scores=True,
        batch_size=batch_size,
        faiss_batch_size=max(1, SCORES_AT_ONCE // part["document"].nunique()),
        verbose=False,
    )
    lists = {
        (query.removeprefix(before), documents[0]): (documents[1:], scores)
        for query, documents, scores in zip(
            found["query"], found["document"], found["scores"], strict=True
        )
    }
    nothing: tuple[list[str], list[float]] = ([], [float("nan")])
    rows = [lists.get(pair, nothing) for pair in zip(part["query"], part["document"], strict=True)]
    return part.assign(
        positive_score=[scores[0] for _, scores in rows],
        negatives=[documents for documents, _ in rows],
        negative_scores=[scores[1:] for _, scores in rows],
    )
