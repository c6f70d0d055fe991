"""A model's hidden states, handed out layer by layer while the forward pass goes on.

They are those of `output_hidden_states` in transformers: 0 = embeddings, l = after block l, the
last one after the final norm; of the backbone, without the language-model head. Taken by hooks, so
that no more than one layer of a batch has to be kept.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import torch

from hrsa.errors import UserError

Take = Callable[[int, torch.Tensor], None]


class HiddenStates:
    """Reads the hidden states of a backbone.

    Parameters
    ----------
    backbone
        A transformers model in evaluation mode, without its head.
    name : str
        Of the model, for messages.

    Attributes
    ----------
    n_layers : int
        Number of blocks, hence the index of the final state.
    width : int
        Of every state.
    attention : {"causal", "bidirectional"}
        Bidirectional when the last token changes what the first ones become. The model's
        configuration is not asked: an architecture may ignore what it says.
    is_hooked : bool
        Whether states come one by one. False for an architecture whose blocks were not found: all
        states of a batch are then held at once.

    Raises
    ------
    UserError
        The layers have different widths.
    """

    def __init__(self, backbone: Any, name: str) -> None:
        self._backbone = backbone
        self._takes_cache = "use_cache" in inspect.signature(backbone.forward).parameters
        self.device = backbone.get_input_embeddings().weight.device
        size = backbone.get_input_embeddings().num_embeddings
        ids = torch.tensor(
            [[size // 4, size // 4, size // 3], [size // 4, size // 4, size // 2]],
            device=self.device,
        )
        mask = torch.ones_like(ids)
        states = self._all_states(ids, mask)
        widths = sorted({state.shape[-1] for state in states})
        if len(widths) > 1:
            raise UserError(
                f"model {name}: its layers have different widths ({', '.join(map(str, widths))}); "
                "only models of one width can be stored."
            )
        self.n_layers, self.width = len(states) - 1, widths[0]
        first = states[-1][:, :2].double()
        change = (first[0] - first[1]).abs().max() / first.abs().max()
        self.attention = "bidirectional" if change > 1e-4 else "causal"
        self._blocks = self._find_blocks(ids, mask, states)

    @property
    def is_hooked(self) -> bool:
        """Whether states come one by one."""
        return self._blocks is not None

    def read(
        self, ids: torch.Tensor, mask: torch.Tensor, layers: Sequence[int], take: Take
    ) -> None:
        """Run a batch, and call `take` with each wanted layer and its state.

        Parameters
        ----------
        ids, mask : torch.Tensor, shape (n_samples, length)
            Padded on the right.
        layers : sequence of int
            Ascending. The pass ends where the last of them is known.
        take : callable
            Given a layer and its state (n_samples × length × width), in the order of the layers.
            The model does not change a state any more once it was handed out.
        """
        # Under causal attention no token sees the padding behind it; without a mask torch takes
        # its faster kernels.
        seen = None if self.attention == "causal" else mask
        with torch.inference_mode():
            if self._blocks is None:
                states = self._all_states(ids, seen)
                for layer in layers:
                    take(layer, states[layer])
            else:
                self._read_hooked(self._blocks, ids, seen, layers, take)

    def _read_hooked(
        self,
        blocks: Sequence[torch.nn.Module],
        ids: torch.Tensor,
        mask: torch.Tensor | None,
        layers: Sequence[int],
        take: Take,
    ) -> None:
        inner = [layer for layer in layers if layer < self.n_layers]
        ends_early = len(inner) == len(layers)
        try:
            with _hooks(blocks, inner, take, last=inner[-1] if ends_early else None):
                output = self._forward(ids, mask)
        except _AllTaken:
            return
        take(self.n_layers, output.last_hidden_state)

    def _find_blocks(
        self, ids: torch.Tensor, mask: torch.Tensor, wanted: Sequence[torch.Tensor]
    ) -> Sequence[torch.nn.Module] | None:
        """The list of blocks whose inputs and outputs are the hidden states, seen on a probe."""
        for module in self._backbone.modules():
            if isinstance(module, torch.nn.ModuleList) and len(module) == self.n_layers:
                blocks = list(module)
                if _are_equal(self._states_of_hooks(blocks, ids, mask), wanted):
                    return blocks
        return None

    def _states_of_hooks(
        self, blocks: Sequence[torch.nn.Module], ids: torch.Tensor, mask: torch.Tensor
    ) -> dict[int, torch.Tensor]:
        """Copies of what the blocks hand out; fewer where they are no blocks of a model.

        Copies, since a state that the model goes on to change is not one that `read` may give.
        """
        found: dict[int, torch.Tensor] = {}

        def copy(layer: int, state: torch.Tensor) -> None:
            found[layer] = state.clone()

        # Another list of as many modules may take and give anything at all.
        ignored = (KeyError, TypeError, AttributeError, IndexError, RuntimeError)
        with suppress(*ignored), torch.inference_mode():
            self._read_hooked(blocks, ids, mask, range(self.n_layers + 1), copy)
        return found

    def _all_states(self, ids: torch.Tensor, mask: torch.Tensor | None) -> tuple[torch.Tensor, ...]:
        with torch.inference_mode():
            return self._forward(ids, mask, output_hidden_states=True).hidden_states

    def _forward(self, ids: torch.Tensor, mask: torch.Tensor | None, **options: Any) -> Any:
        if self._takes_cache:
            options["use_cache"] = False
        return self._backbone(input_ids=ids, attention_mask=mask, **options)


class _AllTaken(Exception):
    """Ends a forward pass: what comes after was not asked for."""


@contextmanager
def _hooks(
    blocks: Sequence[torch.nn.Module], layers: Sequence[int], take: Take, *, last: int | None
) -> Iterator[None]:
    """Call `take` with the input of the first block (state 0) and the outputs of others."""

    def seen(layer: int, state: torch.Tensor) -> None:
        take(layer, state)
        if layer == last:
            raise _AllTaken

    def before(_: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        seen(0, args[0] if args else kwargs["hidden_states"])

    def after(layer: int) -> Callable[[Any, Any, Any], None]:
        return lambda _module, _args, output: seen(
            layer, output[0] if isinstance(output, tuple) else output
        )

    with ExitStack() as stack:
        for layer in layers:
            handle = (
                blocks[0].register_forward_pre_hook(before, with_kwargs=True)
                if layer == 0
                else blocks[layer - 1].register_forward_hook(after(layer))
            )
            stack.callback(handle.remove)
        yield


def _are_equal(found: Mapping[int, torch.Tensor], wanted: Sequence[torch.Tensor]) -> bool:
    return len(found) == len(wanted) and all(
        # what transformers returns may have been moved to another device than a block's
        isinstance(found[layer], torch.Tensor) and torch.equal(found[layer].to(state.device), state)
        for layer, state in enumerate(wanted)
    )
