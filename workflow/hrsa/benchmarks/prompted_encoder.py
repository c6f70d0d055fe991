"""An encoder that puts each task's and each subset's own instruction before queries.

The instruction goes into the model's template (`hrsa.models.instructions`). sentence-transformers
is handed the rendered prompt as a prompt, so that a pooling with ``include_prompt=False`` leaves it
out of the mean; pasted into the text, it would be in the mean. A backbone of the study leaves it
out too. Other encoders of `mteb` know no such argument and read it as the start of the text.
"""

from __future__ import annotations

from typing import Any

from mteb.models.sentence_transformer_wrapper import SentenceTransformerEncoderWrapper
from mteb.types import PromptType
from sentence_transformers import SentenceTransformer

from hrsa.benchmarks.encoders import MeanPooledBackbone
from hrsa.benchmarks.shared_embeddings import SharedEmbeddings
from hrsa.benchmarks.task_prompts import Prompts
from hrsa.models.instructions import SPLIT_POINT, instruction_prompt

__all__ = ["PromptedEmbeddings", "PromptedEncoder"]


class PromptedEncoder:
    """An `mteb` encoder with prompts by task, subset and kind of text.

    Parameters
    ----------
    model : SentenceTransformer or `mteb` encoder
    prompts
        Tasks that they do not name are left to `model`, with its own prompts if it has some.
    template
        Ends with a space and ``{query}`` and holds ``{instruction}``:
        ``"Instruct: {instruction}\\nQuery: {query}"``, or ``"{instruction}: {query}"``.

    Attributes
    ----------
    used : dict
        What was put before texts so far, by "task/subset/role"; "" where nothing was.

    Raises
    ------
    UserError
        `template` is not of that form.
    """

    def __init__(self, model: Any, prompts: Prompts, *, template: str) -> None:
        instruction_prompt(template, "")  # refuses a template that it could not render
        if isinstance(model, SentenceTransformer):
            model = SentenceTransformerEncoderWrapper(model)
        self.model = model
        self.prompts = prompts
        self.template = template
        self.used: dict[str, str] = {}

    @property
    def mteb_model_meta(self) -> Any:
        """The model's description."""
        return self.model.mteb_model_meta

    @property
    def model_prompts(self) -> dict[str, str] | None:
        """The model's own prompts, for tasks that are left to it."""
        return getattr(self.model, "model_prompts", None)

    def prompt(self, task: str, subset: str, role: PromptType | None) -> str | None:
        """Render what goes before a text.

        Returns
        -------
        The prompt, without the space that follows it; "" for none; None where the model's own
        prompts, if any, decide.
        """
        instruction = self.prompts.instruction(task, subset, role.value if role else None)
        if instruction is None:
            return None
        rendered = instruction_prompt(self.template, instruction) if instruction else ""
        self.used["/".join([task, subset, role.value if role else "query"])] = rendered or ""
        return rendered

    def encode(
        self,
        inputs: Any,
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        prompt_type: PromptType | None = None,
        **kwargs: Any,
    ) -> Any:
        """Embed the texts of an `mteb` data loader, shape (n_texts, width)."""
        prompt = self.prompt(task_metadata.name, hf_subset, prompt_type)
        if prompt is not None and isinstance(self.model, SentenceTransformerEncoderWrapper):
            return _encode_with_prompt(self.model.model, inputs, prompt, prompt_type, **kwargs)
        if prompt is not None and isinstance(self.model, MeanPooledBackbone):
            return self.model.encode(inputs, prompt=prompt, **kwargs)
        return self.model.encode(
            _pasted(inputs, prompt) if prompt else inputs,
            task_metadata=task_metadata,
            hf_split=hf_split,
            hf_subset=hf_subset,
            prompt_type=prompt_type,
            **kwargs,
        )

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Score all embeddings against all, as the model does."""
        return self.model.similarity(embeddings1, embeddings2)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Score embeddings in pairs, as the model does."""
        return self.model.similarity_pairwise(embeddings1, embeddings2)


class PromptedEmbeddings(SharedEmbeddings):
    """A prompted encoder that embeds each text once for each prompt that it is read with.

    `mteb`'s cache knows the task but not its subset: two subsets with the same text and different
    prompts would share its embedding (queries of BRIGHT's two TheoremQA domains, say). Here a cache
    belongs to a prompt, and the texts that are read bare share one over all tasks.

    Parameters
    ----------
    model : PromptedEncoder
    """

    def __init__(self, model: PromptedEncoder) -> None:
        super().__init__(model)
        self._prompted = model
        self._prompt: str | None = None

    @property
    def used(self) -> dict[str, str]:
        """What was put before texts so far, as in `PromptedEncoder`."""
        return self._prompted.used

    def encode(self, inputs: Any, *, task_metadata: Any, hf_subset: str, **kwargs: Any) -> Any:
        """Embed the texts of an `mteb` data loader, shape (n_texts, width)."""
        role = kwargs.get("prompt_type")
        self._prompt = self._prompted.prompt(task_metadata.name, hf_subset, role)
        return super().encode(inputs, task_metadata=task_metadata, hf_subset=hf_subset, **kwargs)

    def _get_or_create_cache(
        self, task_name: str, prompt_type: Any, encode_kwargs: dict[str, Any] | None = None
    ) -> Any:
        if self._prompt is None:
            return super()._get_or_create_cache(task_name, prompt_type, encode_kwargs)
        name = f"prompt {self._prompt}" if self._prompt else "all"
        # past `SharedEmbeddings`, which divides by task where the model has prompts of its own
        return super(SharedEmbeddings, self)._get_or_create_cache(name, None, encode_kwargs)


def _encode_with_prompt(
    model: SentenceTransformer, inputs: Any, prompt: str, role: PromptType | None, **kwargs: Any
) -> Any:
    encode = {PromptType.query: model.encode_query, PromptType.document: model.encode_document}
    # The space before a query is the query's own, as in training. The prompt "" is none at all,
    # where None would be the model's own.
    before = SPLIT_POINT if prompt else ""
    texts = [before + text for batch in inputs for text in batch["text"]]
    embeddings = (encode[role] if role else model.encode)(texts, prompt=prompt, **kwargs)
    # bfloat16 has no numpy counterpart
    return embeddings.cpu().float() if hasattr(embeddings, "cpu") else embeddings


def _pasted(inputs: Any, prompt: str) -> Any:
    """Put a prompt before the texts of a data loader."""
    from datasets import Dataset
    from torch.utils.data import DataLoader

    texts = [prompt + SPLIT_POINT + text for batch in inputs for text in batch["text"]]
    rows: Any = Dataset.from_dict({"text": texts})
    return DataLoader(rows, batch_size=inputs.batch_size)
