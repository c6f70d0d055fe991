"""Tasks on which neither model of a pair is shown above chance: equal scores say nothing there.

A task counts as at chance for a pair unless one of its two models is shown to be above chance: the
95 % interval of the model's score, mean over its training seeds, begins above the chance level
(`hrsa.benchmarks.paired_scores`). It is one look at each model, where to ask whether some seed is
above chance would be as many looks as there are seeds. Of two models that are both at chance at
most one task in twenty is kept, one in forty for each model.

Leaving out tasks by their scores is a form of conditioning: what is then said of the mean holds for
tasks that one of the two models can do at all, as these trainings and these items show it. The
choice looks at both models alike and not at their difference: it stays the same when the two are
exchanged, and so favours no sign of the difference. It is no safe side, though. A task that is left
out may be one on which the models differ, as where one is below what embeddings that say nothing
score, and a task just beyond the limit may be one that only one model's luck has brought there.
That is why such a task keeps its own rows, tests and all.
"""

from collections.abc import Iterable, Sequence

from hrsa.statistics.equivalence import BOTH, DIFFERENT

AT_CHANCE = "neither model is shown above chance"
_EQUALITY = "equality says nothing"
NO_TASK_LEFT = "no mean over tasks: no task is left"
_WITHOUT = "without "
_ONE_RUN = "one run of the "


def is_at_chance(lower_ends: Iterable[float]) -> bool:
    """Whether neither of two models is shown to be above chance on a task.

    Parameters
    ----------
    lower_ends : iterable of float, shape (2,)
        Lower end of the 95 % interval of the mean score over training seeds of the reference and of
        the candidate, minus the chance level; NaN where it is not known, which leaves the task in.
    """
    return all(end <= 0 for end in lower_ends)


def at_chance_remark(verdict: str | None) -> str:
    """Say of a test on a task at chance what it is worth: a difference that is shown stands."""
    return AT_CHANCE if verdict in (DIFFERENT, BOTH) else f"{AT_CHANCE}: {_EQUALITY}"


def remark_at_chance(note: str | None) -> str:
    """Pick what `at_chance_remark` says out of the note of a test; "" where it says nothing."""
    return next((part for part in _parts(note) if part.startswith(AT_CHANCE)), "")


def left_out(absent: Sequence[str], at_chance: Sequence[str]) -> list[str]:
    """Say which tasks a mean is without: those without a score, and those at chance."""
    remarks = [f"{_WITHOUT}{', '.join(absent)}"] if absent else []
    if at_chance:
        remarks.append(f"{_WITHOUT}{', '.join(at_chance)}, where {AT_CHANCE}")
    return remarks


def one_run(references: Sequence[str], candidates: Sequence[str]) -> list[str]:
    """Say which side of a pair is a single run, beside which several of the other one stand."""
    sides = {"reference": references, "candidate": candidates}
    return [f"{_ONE_RUN}{side} for all seeds" for side, runs in sides.items() if len({*runs}) == 1]


def remarks_on_tasks(note: str | None) -> list[str]:
    """Pick out of a note what a conclusion from the test hangs on.

    That is what `left_out` and `one_run` say, and the refusal where no task is left.
    """
    return [part for part in _parts(note) if part.startswith((_WITHOUT, _ONE_RUN, NO_TASK_LEFT))]


def _parts(note: str | None) -> list[str]:
    return note.split("; ") if isinstance(note, str) else []
