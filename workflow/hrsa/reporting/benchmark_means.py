"""What the report says of the means over a suite's tasks: one line per model."""

import pandas as pd

from hrsa.figures.benchmarks import mean_and_spread

TITLES = {"tasks": "mean over tasks", "types": "mean over types of task"}


def means_summary(means: pd.DataFrame) -> pd.DataFrame:
    """Return the means of each suite for a reader: mean and spread over training seeds.

    Parameters
    ----------
    means : DataFrame
        Of `hrsa.benchmarks.aggregation.suite_means`.

    Returns
    -------
    DataFrame
        For each model and suite the mean over tasks, over types of task, and over the tasks of each
        type. A mean that lacks a task in some seed is left empty, and `note` names the task.
    """
    lines = []
    for (suite, model), rows in means.groupby(["suite", "model"], sort=True):
        line = {"suite": suite, "model": model}
        for (mean, kind), found in rows.groupby(["mean", "type"], sort=False):
            title = TITLES.get(str(mean), str(kind))
            line[title] = mean_and_spread(found["value"]) if found["complete"].all() else ""
        whole = rows[rows["mean"] == "tasks"]
        line["note"] = "; ".join(note for note in dict.fromkeys(whole["note"]) if note)
        lines.append(line)
    titles = [title for line in lines for title in line]
    columns = [one for one in dict.fromkeys(titles) if one != "note"]
    return pd.DataFrame(lines, columns=[*columns, "note"]).fillna("")
