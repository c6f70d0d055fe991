"""The difficulty filter: problems that the parent model solves at times, neither never nor always.

Where all completions of a prompt are right, or all wrong, their rewards differ in nothing and a
group-relative advantage is zero: such problems teach nothing.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from hrsa.data.verifiers import is_correct
from hrsa.errors import UserError
from hrsa.models.accuracy import complete
from hrsa.models.loading import load_language_model
from hrsa.models.prompts import check_prompt_format, prompt_text


def measure_difficulty(
    model: Path, problems: Path, *, seed: int, n_problems: int, settings: dict[str, Any]
) -> pd.DataFrame:
    """How often a model solves each of some training problems, and which of them are kept.

    Parameters
    ----------
    model : Path
        Folder of the causal language model that is to be trained.
    problems : Path
        Parquet file with columns question and answer, and perhaps split (rows of "train" are used).
    seed : int
        Of the draw of problems and of their completions.
    n_problems : int
        Problems to draw at most.
    settings : dict
        samples (completions of each problem), low, high (shares of right ones between which a
        problem is kept); and, as the training has them, prompt_format, temperature,
        max_completion_tokens, verifier.

    Returns
    -------
    DataFrame
        The drawn problems' columns, and solved (share of the completions that are right), kept
        (whether low ≤ solved ≤ high) and n_samples.

    Raises
    ------
    UserError
        No problem is kept.
    """
    network, tokenizer = load_language_model(model, device="auto")
    check_prompt_format(tokenizer, settings["prompt_format"], model)
    frame = draw_problems(problems, seed=seed, n_problems=n_problems)
    solved = solved_shares(network, tokenizer, frame, seed=seed, settings=settings)
    # shares are whole numbers of samples; rounding must not decide at the bounds
    low, high = (settings[key] + sign * 1e-9 for key, sign in (("low", -1), ("high", 1)))
    frame = frame.assign(
        solved=solved, kept=(low <= solved) & (solved <= high), n_samples=settings["samples"]
    )
    check_kept(frame, model=model, settings=settings, bounds=settings)
    return frame


def training_problems(path: Path) -> pd.DataFrame:
    """The problems of a file to train on: of the split "train", and kept, where it says so.

    Raises
    ------
    UserError
        There are none.
    """
    frame = _of_training_split(path)
    if "kept" in frame:
        frame = frame[frame["kept"].astype(bool)]
    if frame.empty:
        raise UserError(
            f'{path} has no problem to train on: give rows whose column `split` is "train" (or '
            "no such column) and whose column `kept`, where there is one, is true."
        )
    return frame.reset_index(drop=True)


def draw_problems(path: Path, *, seed: int, n_problems: int) -> pd.DataFrame:
    """Up to so many training problems, drawn by the seed, in the order of the file."""
    frame = training_problems(path)
    n = min(n_problems, len(frame))
    rows = np.random.default_rng(seed).choice(len(frame), size=n, replace=False)
    return frame.iloc[np.sort(rows)].reset_index(drop=True)


def solved_shares(
    network: Any, tokenizer: Any, frame: pd.DataFrame, *, seed: int, settings: dict[str, Any]
) -> np.ndarray:
    """The share of sampled completions that are right, of each problem, shape (n_problems,)."""
    n_samples = settings["samples"]
    repeated = frame.loc[frame.index.repeat(n_samples)]
    torch.manual_seed(seed)
    completions = complete(
        network,
        tokenizer,
        [
            prompt_text(tokenizer, question, settings["prompt_format"])
            for question in repeated["question"]
        ],
        temperature=settings["temperature"],
        max_new_tokens=settings["max_completion_tokens"],
    )
    right = [
        is_correct(text, answer, settings["verifier"])
        for text, answer in zip(completions, repeated["answer"], strict=True)
    ]
    return np.reshape(right, (len(frame), n_samples)).mean(axis=1)


def check_step(problems: Path, *, parent: Path, settings: dict[str, Any]) -> None:
    """Make sure that the filter has kept problems enough for a step of the training.

    Parameters
    ----------
    problems : Path
        Parquet file of training problems; one without the filter's column `kept` is not checked.
    parent : Path
        Folder of the model that tried them.
    settings : dict
        Of the training (see `hrsa.models.rlvr.train`).

    Raises
    ------
    UserError
        Fewer problems are kept than `prompts_per_step`.
    """
    frame = _of_training_split(problems)
    if "kept" in frame:
        needed, bounds = settings["prompts_per_step"], settings["difficulty"]
        check_kept(frame, needed, model=parent, settings=settings, bounds=bounds)


def check_kept(
    frame: pd.DataFrame,
    needed: int | None = None,
    *,
    model: Path,
    settings: dict[str, Any],
    bounds: dict[str, Any] | None,
) -> None:
    """Make sure that enough problems are kept.

    Parameters
    ----------
    frame : DataFrame
        Column kept and, where the filter has made it, solved and n_samples.
    needed : int, optional
        Problems of a step of the training; else one is enough.
    model : Path
        Folder of the model that tried them.
    settings : dict
        verifier, max_completion_tokens.
    bounds : dict or None
        low, high, where they are known.

    Raises
    ------
    UserError
        Too few problems are kept: how many were never solved, how many always.
    """
    n_kept = int(frame["kept"].sum())
    if n_kept >= (needed or 1):
        return
    text = f"The difficulty filter keeps {n_kept} of {len(frame)} problems"
    if needed:
        text += f", and a step of the training needs {needed} (`prompts_per_step`)"
    remedy = "other problems"
    if {"solved", "n_samples"} <= set(frame):
        never, always = int((frame["solved"] == 0).sum()), int((frame["solved"] == 1).sum())
        text += (
            f". Of {frame['n_samples'].max()} completions of each by {model.name}, {never} "
            f"problems were never solved, {always} always, and {len(frame) - never - always} at "
            "times"
        )
        remedy = "easier problems" if never >= always else "harder problems"
    if bounds:
        low, high = bounds["low"], bounds["high"]
        text += f"; kept are those solved between {low:.0%} and {high:.0%} of the time"
    raise UserError(
        f"{text}. Give {remedy}, more of them, or wider bounds `low` and `high`; where none is "
        f"solved, check the `verifier` ({settings['verifier']}) and `max_completion_tokens` "
        f"({settings['max_completion_tokens']})."
    )


def _of_training_split(path: Path) -> pd.DataFrame:
    frame = pd.read_parquet(path)
    return frame[frame["split"] == "train"] if "split" in frame else frame
