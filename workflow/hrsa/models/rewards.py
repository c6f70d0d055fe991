"""The rewards of RLVR, and the stop of a run that never solves anything."""

from dataclasses import dataclass, field
from typing import Any

from transformers import TrainerCallback

from hrsa.data.verifiers import VERIFIERS, has_format, is_correct
from hrsa.errors import UserError
from hrsa.models.prompts import completion_text

N_SHOWN = 3
LONGEST_SHOWN = 300  # characters of a text in a message
ACCURACY = "rewards/accuracy/mean"  # in the log of trl

Text = str | list[dict[str, str]]


@dataclass
class Accuracy:
    """The verifiable reward: 1 for a completion that states the right answer, else 0.

    Attributes
    ----------
    verifier : str
        A key of `hrsa.data.verifiers.VERIFIERS`.
    seen : list of tuple
        Prompt, completion and answer of the step before, as texts.
    """

    verifier: str = "hash"
    seen: list[tuple[str, str, str]] = field(default_factory=list, repr=False)

    __name__ = "accuracy"  # under which trl logs it

    def __call__(
        self, prompts: list[Text], completions: list[Text], answer: list[int | str], **_: object
    ) -> list[float | None]:
        """One reward for each completion (the arguments that `trl` gives)."""
        texts = [completion_text(completion) for completion in completions]
        questions = [completion_text(prompt) for prompt in prompts]
        self.seen = list(zip(questions, texts, map(str, answer), strict=True))
        return [
            float(is_correct(text, right, self.verifier))
            for text, right in zip(texts, answer, strict=True)
        ]


@dataclass
class Format:
    """The reward for the form: 1 for a completion that ends in one answer, right or wrong."""

    verifier: str = "hash"

    __name__ = "format"

    def __call__(self, completions: list[Text], **_: object) -> list[float | None]:
        """One reward for each completion (the arguments that `trl` gives)."""
        return [float(has_format(completion_text(text), self.verifier)) for text in completions]


class StopWithoutReward(TrainerCallback):
    """Stop a run that solved nothing in all its first steps, and show what it saw.

    A reward for the form alone does not count. The steps are counted in the log of the run, which
    its state keeps: a run that goes on after a kill does not start to count again.

    Parameters
    ----------
    patience : int
        Steps without a right completion after which the run stops; 0: never.
    accuracy : Accuracy
        The reward, which has seen the completions.
    settings : dict
        Of the recipe: completions, prompts_per_step, max_completion_tokens, verifier.
    """

    def __init__(self, patience: int, accuracy: Accuracy, settings: dict[str, Any]):
        self.patience, self.accuracy, self.settings = patience, accuracy, settings

    def on_log(self, args, state, control, logs=None, **kwargs):  # noqa: D102 (transformers' hook)
        rewards = [entry[ACCURACY] for entry in state.log_history if ACCURACY in entry]
        if self.patience and len(rewards) >= self.patience and not any(rewards):
            raise UserError(self.explanation(len(rewards)))

    def explanation(self, n_steps: int) -> str:
        """What happened, three of the completions, and what to do."""
        name, seen = self.settings["verifier"], self.accuracy.seen
        n = n_steps * self.settings["prompts_per_step"] * self.settings["completions"]
        n_stated = sum(bool(VERIFIERS[name].statements(text)) for _, text, _ in seen)
        # one completion of each of the first prompts, not several of one
        shown = seen[:: self.settings["completions"]][:N_SHOWN]
        shown += [one for one in seen if one not in shown][: N_SHOWN - len(shown)]
        return "\n".join(
            [
                f"The reward for right answers was 0 in all of the first {n_steps} steps ({n} "
                f"completions), so that there is nothing to learn from. The verifier `{name}` "
                f"looks for {VERIFIERS[name].looks_for}; {n_stated} of the {len(seen)} completions "
                "of the last step state an answer so, none the right one. Among them:",
                *(
                    f"  prompt {_shown(prompt)}\n  right answer {_shown(answer)}\n"
                    f"  completion {_shown(completion)}"
                    for prompt, completion, answer in shown
                ),
                "Where the answers are right and stated in another form, set another `verifier` or "
                "start from a model that was trained to write this one. Where they are broken "
                f"off, raise `max_completion_tokens` (it is "
                f"{self.settings['max_completion_tokens']}). Where they are wrong, give easier "
                "problems, or keep those that the parent solves at times: `difficulty: "
                "{problems: 500, samples: 8, low: 0.1, high: 0.9}`. To wait "
                "longer, raise `patience` (0: for ever).",
            ]
        )


def _shown(text: str) -> str:
    return repr(text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + " …")
