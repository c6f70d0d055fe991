"""Tasks on which both models of a pair are at chance, where equal scores say nothing of the models.

A task counts as at chance for a pair unless one of its two models is shown to be above chance: the
95 % interval of the model's score, mean over its training seeds, begins above the chance level. The
interval of a mean over seeds is the mean of the seeds' intervals. That is never too narrow, since
the standard error of a mean is at most the mean of the standard errors: a task in doubt is left
out, which could only make the models look alike. It is one look at each model, where to ask whether
some seed is above chance would be as many looks as there are seeds. Of two models that are both at
chance at most one task in twenty is kept, one in forty for each model.

Leaving out tasks by their scores is a form of conditioning: what is then said of the mean holds for
tasks that one of the two models can do at all, as these trainings and these items show it. The
choice looks at both models alike and not at their difference: it stays the same when the two are
exchanged, and so favours no sign of the difference. A task just beyond the limit may be one that
only one model's luck has brought there, which makes differences a little larger, not smaller.
"""

from collections.abc import Sequence

import numpy as np

AT_CHANCE = "both models at chance: equality says nothing"
WHERE_AT_CHANCE = "where both models are at chance"
NO_TASK_LEFT = "no mean over tasks: no task is left"
_WITHOUT = "without "


def is_at_chance(lower_ends: Sequence[tuple[float, float]]) -> bool:
    """Whether neither of two models is shown to be above chance on a task.

    Parameters
    ----------
    lower_ends : sequence of (float, float), shape (n_seeds, 2)
        For each training seed of the reference and the candidate, the lower end of the 95 %
        interval of the score, minus the chance level; NaN where either is not known, which leaves
        the task in.
    """
    ends = np.asarray(lower_ends, dtype=np.float64).reshape(-1, 2)
    return len(ends) > 0 and bool((ends.mean(axis=0) <= 0).all())


def left_out(absent: Sequence[str], at_chance: Sequence[str]) -> list[str]:
    """Say which tasks a mean is without: those without a score, and those at chance."""
    remarks = [f"{_WITHOUT}{', '.join(absent)}"] if absent else []
    if at_chance:
        remarks.append(f"{_WITHOUT}{', '.join(at_chance)}, {WHERE_AT_CHANCE}")
    return remarks


def remarks_on_tasks(note: str | None) -> list[str]:
    """Pick what `left_out` says out of a note, with the refusal where no task is left."""
    parts = note.split("; ") if isinstance(note, str) else []
    return [part for part in parts if part.startswith((_WITHOUT, NO_TASK_LEFT))]
