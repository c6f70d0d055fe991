"""What claims are tested on: a study's tables and replicates, and the published numbers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import pandas as pd

from hrsa.reporting.claim_estimates import Arrays, ComparedModels, compared_models, headline
from hrsa.reporting.doses import Doses, doses
from hrsa.reporting.effects import Neighbours
from hrsa.reporting.replicates import Comparison


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a study has for its claims; tables may be empty.

    Attributes
    ----------
    similarity, dose, differences : DataFrame
        Tables of the study.
    reanalysis, published_alignment : DataFrame
        Tables of the published numbers.
    replicates, checkpoints : mapping
        Of `read_replicates` and `read_checkpoints`.
    neighbours : Neighbours or None
        How neighbours were asked for.
    final_step : int or None
        Steps of contrastive training, where checkpoints are compared.
    architectures : mapping of pair to str
    seed_spread : float
        Margin of similarities, in distances of the seed floor.
    """

    similarity: pd.DataFrame = field(default_factory=pd.DataFrame)
    dose: pd.DataFrame = field(default_factory=pd.DataFrame)
    differences: pd.DataFrame = field(default_factory=pd.DataFrame)
    reanalysis: pd.DataFrame = field(default_factory=pd.DataFrame)
    published_alignment: pd.DataFrame = field(default_factory=pd.DataFrame)
    replicates: Mapping[Comparison, Arrays] = field(default_factory=dict)
    checkpoints: Mapping[tuple[Comparison, int], Arrays] = field(default_factory=dict)
    neighbours: Neighbours | None = None
    final_step: int | None = None
    architectures: Mapping[str, str] = field(default_factory=dict)
    seed_spread: float = 2.0

    @cached_property
    def doses(self) -> Doses:
        """Doses and parents of the instances."""
        return doses(self.dose)

    @cached_property
    def _found(self) -> dict[tuple[str, str], list[ComparedModels]]:
        return {}

    def compared(self, metric: str, statistic: str) -> list[ComparedModels]:
        """Every two models by a headline number."""
        key = metric, statistic
        if key not in self._found:
            self._found[key] = compared_models(
                self.similarity,
                self.replicates,
                headline(metric, statistic),
                checkpoints=self.checkpoints,
                neighbours=self.neighbours,
            )
        return self._found[key]
