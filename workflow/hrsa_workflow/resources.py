"""What a job asks of a scheduler: at least what its rule says, more where its estimate is larger.

The estimates are those of `snakemake plan`, made once when the first job asks, without reading a
text. What they do not know of stays at what the rule says. They are on the safe side where they can
be: texts that are not here count as long as they may be, and memory counts what a job has on a GPU
as well.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING

from hrsa_workflow.estimates import Estimate
from hrsa_workflow.study import RECIPES, Study
from hrsa_workflow.training_data import difficulty_parents

if TYPE_CHECKING:
    from hrsa_workflow.analysis_costs import AnalysisCosts
    from hrsa_workflow.sizes import ModelSize
    from hrsa_workflow.training_costs import TrainingCost

# Operations in a second of one GPU: a tenth of what a large one has in bfloat16, and less where
# texts are written token by token.
RATE, WRITING_RATE = 40e12, 10e12
WRITING_RULES = ("rlvr", "difficulty", "accuracy")
STEP_MB, MINUTE = 500, 60


class JobResources:
    """Memory and time that jobs ask for.

    Parameters
    ----------
    study : Study
    """

    def __init__(self, study: Study) -> None:
        self.study = study

    def mem_mb(self, rule: str, instance: str, at_least: int) -> int:
        """Megabytes of a job, of all its processes: its estimate, rounded up to 500 MB.

        Parameters
        ----------
        rule, instance : str
            For difficulty the instance is the parent, for mining it is the miner.
        at_least : int
        """
        estimate = self._memory.get((rule, instance), Estimate())
        asked = estimate.value * self._processes(rule, instance) / 1e6
        return max(at_least, STEP_MB * math.ceil(asked / STEP_MB))

    def runtime(self, rule: str, instance: str, at_least: int) -> int:
        """Minutes of a job: its operations at a pessimistic rate, on the GPUs that it asks for.

        Parameters
        ----------
        rule, instance : str
            As in `mem_mb`.
        at_least : int
        """
        rate = WRITING_RATE if rule in WRITING_RULES else RATE
        seconds = self._operations(rule, instance).value / rate / self._processes(rule, instance)
        return max(at_least, math.ceil(seconds / MINUTE))

    def _operations(self, rule: str, instance: str) -> Estimate:
        if rule in RECIPES:
            training = self._trainings[instance]
            return training.operations if training else Estimate()
        if rule == "mine":
            return self._analysis.mining()[0]  # of all sets: no job has more
        if rule == "accuracy":
            return self._analysis.accuracy(instance)
        return self._difficulty.get(instance, Estimate())

    def _processes(self, rule: str, instance: str) -> int:
        return self.study.gpus(instance) if rule in RECIPES else 1

    @cached_property
    def _difficulty(self) -> dict[str, Estimate]:
        """Operations of trying problems, by the parent that tries them: those of the longest."""
        from hrsa_workflow.training_costs import difficulty_cost

        found: dict[str, Estimate] = {}
        for model, parent in difficulty_parents(self.study):
            cost = difficulty_cost(self.study, model, parent, self._sizes)
            found[parent] = max(cost, found.get(parent, cost), key=lambda one: one.value)
        return found

    @cached_property
    def _memory(self) -> dict[tuple[str, str], Estimate]:
        """Bytes of each job that is not small."""
        from hrsa_workflow.study_costs import job_memory

        jobs = job_memory(self.study, self._sizes, self._trainings, self._analysis)
        return {(rule, name): estimate for rule, name, estimate in jobs}

    @cached_property
    def _analysis(self) -> AnalysisCosts:
        from hrsa_workflow.analysis_costs import AnalysisCosts

        return AnalysisCosts(self.study, self._sizes)

    @cached_property
    def _trainings(self) -> dict[str, TrainingCost | None]:
        from hrsa_workflow.training_costs import training_cost

        sizes = self._sizes
        return {name: training_cost(self.study, name, sizes[name]) for name in sizes}

    @cached_property
    def _sizes(self) -> dict[str, ModelSize | None]:
        from hrsa_workflow.sizes import model_sizes

        return model_sizes(self.study)
