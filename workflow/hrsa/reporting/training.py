"""What the report says of the trainings: whether a reward rose, and how each model was made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from hrsa.figures.frames import prepare
from hrsa.statistics.trend import Rise, rise

_DROPPED = {
    "dropped_empty": "empty",
    "dropped_duplicate": "duplicate",
    "dropped_too_long": "too long",
}


@dataclass(frozen=True)
class Remark:
    """A sentence beside a figure; one that a reader must not miss is marked."""

    text: str
    marked: bool = False


def reward_remarks(curves: pd.DataFrame) -> list[Remark]:
    """Say of each training with a reward whether it rose, from its first third to its last.

    Parameters
    ----------
    curves : DataFrame
        Columns model, seed, step, reward, and perhaps accuracy, which is the share of right answers
        where the reward counts more than that.

    Returns
    -------
    list of Remark
        One for each trained model, in their order. What did not rise, fell, or rose in the form of
        the answers alone is marked.
    """
    columns = ["model", "seed", "step", "reward"]
    columns += ["accuracy"] if "accuracy" in curves else []
    frame = prepare(curves, columns, "the table of training curves").sort_values("step")
    remarks = []
    for key, rows in frame.groupby(["model", "seed"], dropna=False, sort=True):
        name = _instance(*key)
        rewarded = rows[rows["reward"].notna()]
        if rewarded.empty:
            remarks.append(Remark(f"{name}: no reward was logged.", marked=True))
            continue
        accuracy = _apart_from_reward(rewarded)
        right = None if accuracy is None else rise(accuracy.to_numpy())
        remarks.append(_remark(name, rise(rewarded["reward"].to_numpy()), right))
    return remarks


def _instance(model: Any, seed: Any) -> str:
    return str(model) if pd.isna(seed) else f"{model}.s{int(seed)}"


def _apart_from_reward(rows: pd.DataFrame) -> pd.Series | None:
    """The share of right answers where it is logged and the reward is something else."""
    if "accuracy" not in rows or rows["accuracy"].isna().any():
        return None
    same = np.allclose(rows["accuracy"], rows["reward"])
    return None if same else rows["accuracy"]


def _remark(name: str, reward: Rise, right: Rise | None) -> Remark:
    if reward.rose is None:
        steps = f"{reward.n} {'step' if reward.n == 1 else 'steps'}"
        return Remark(f"{name}: too short to tell whether the reward rose ({steps}).", marked=True)
    if not reward.rose:
        fell = reward.ci_high < 0
        text = f"{name}: reward did not rise{', it fell' if fell else ''}: {_change(reward)}"
        effect = "that RLVR made worse" if fell else "on which RLVR did nothing measurable"
        return Remark(
            f"{text}; read comparisons with this model as comparisons with a model {effect}.",
            marked=True,
        )
    text = f"{name}: reward rose {_change(reward)}"
    if right is None:
        return Remark(f"{text}.")
    if right.rose:
        return Remark(f"{text}; the share of right answers rose {_change(right)}.")
    return Remark(
        f"{text}, but the share of right answers did not: {_change(right)}. What rose is the form "
        "of the answers: RLVR did nothing measurable to whether they are right.",
        marked=True,
    )


def _change(found: Rise) -> str:
    text = (
        f"from {found.first:.2f} to {found.last:.2f} ({found.difference:+.2f}, 95 % interval "
        f"{found.ci_low:.2f} to {found.ci_high:.2f})"
    )
    return text.replace("-", "\N{MINUS SIGN}")


def training_summary(records: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """List how the models of the study were made, those made alike in one row.

    Parameters
    ----------
    records : sequence of mapping
        Their records, in the order of the table. Of `data` are read the counts of examples, of what
        was dropped, and of queries with too few hard negatives; `lora` and `note`.

    Returns
    -------
    DataFrame
        Columns model, recipe, parent, steps, and, where any model has them, examples, dropped,
        hard negatives, LoRA and note; all texts.
    """
    made: dict[tuple[str, ...], list[str]] = {}
    columns: list[str] = []
    for record in records:
        row = _row(record)
        columns = list(row)
        made.setdefault(tuple(row.values()), []).append(str(record["model"]))
    table = pd.DataFrame(
        [(_joined(models), *cells) for cells, models in made.items()],
        columns=["model", *columns],
    )
    optional = ["examples", "dropped", "hard negatives", "LoRA", "note"]
    return table.drop(columns=[name for name in optional if name in table and not any(table[name])])


def _joined(instances: Sequence[str]) -> str:
    """Names in one line, further seeds of a model without its name: ``sft.s0, .s1, rlvr.s0``."""
    names: list[str] = []
    before = None
    for instance in instances:
        model, dot, seed = instance.rpartition(".")
        names.append(f".{seed}" if dot and model == before else instance)
        before = model
    return ", ".join(names)


def _row(record: Mapping[str, Any]) -> dict[str, str]:
    data = dict(record.get("data") or {})
    dropped = [f"{data[key]} {word}" for key, word in _DROPPED.items() if data.get(key)]
    return {
        "recipe": str(record.get("recipe") or ""),
        "parent": str(record.get("parent") or ""),
        "steps": str(record.get("steps") or ""),
        "examples": str(data.get("examples", "")),
        "dropped": ", ".join(dropped) or ("none" if data else ""),
        "hard negatives": _negatives(data),
        "LoRA": _lora(record.get("lora")),
        "note": str(record.get("note") or ""),
    }


def _negatives(data: Mapping[str, Any]) -> str:
    if not data.get("short_lists"):
        return ""
    text = f"{data['short_lists']} queries with too few"
    filled = data.get("filled_negatives")
    return f"{text}, {filled} filled up with random documents" if filled else text


def _lora(lora: Mapping[str, Any] | None) -> str:
    if not lora:
        return ""
    return f"rank {lora['rank']}, alpha {lora['alpha']}, dropout {lora['dropout']}"
