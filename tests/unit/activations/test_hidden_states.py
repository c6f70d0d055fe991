"""States taken by hooks are those that transformers gives all at once."""

import pytest
import torch

from hrsa.activations.hidden_states import HiddenStates
from hrsa.errors import UserError


def make_encoder():
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=512,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=64,
    )
    return BertModel(config, add_pooling_layer=False).eval()


@pytest.fixture(params=["qwen2", "llama", "bert"])
def backbone(request, make_model):
    return make_encoder() if request.param == "bert" else make_model(request.param).base_model


@pytest.fixture
def batch():
    ids = torch.randint(1, 500, (3, 9), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    return ids, mask


def taken(states, batch, layers):
    found = {}
    states.read(*batch, layers, found.__setitem__)
    return found


def test_every_state_equals_that_of_output_hidden_states(backbone, batch):
    states = HiddenStates(backbone, "tiny")
    assert states.is_hooked
    with torch.no_grad():
        ids, mask = batch
        output = backbone(input_ids=ids, attention_mask=mask, output_hidden_states=True)
    assert states.n_layers == len(output.hidden_states) - 1
    found = taken(states, batch, range(states.n_layers + 1))
    assert list(found) == list(range(states.n_layers + 1))
    text = mask.bool()  # what becomes of the padding does not matter
    for layer, state in found.items():
        assert torch.equal(state[text], output.hidden_states[layer][text])
    assert torch.equal(found[states.n_layers][text], output.last_hidden_state[text])


def test_blocks_after_the_last_wanted_layer_are_not_run(make_model, batch):
    backbone = make_model().base_model
    states = HiddenStates(backbone, "tiny")
    ran = []
    for number, block in enumerate(backbone.layers):
        block.register_forward_pre_hook(lambda *_, number=number: ran.append(number))
    assert list(taken(states, batch, [0, 1])) == [0, 1]
    assert ran == [0]


def test_no_hook_is_left_behind(make_model, batch):
    backbone = make_model().base_model

    def n_hooks():  # transformers keeps some of its own
        return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in backbone.modules())

    states = HiddenStates(backbone, "tiny")
    before = n_hooks()
    taken(states, batch, [0, 1, 2])
    taken(states, batch, [0, 1])
    assert n_hooks() == before


def test_a_model_whose_blocks_are_not_found_gives_all_states_at_once(
    make_model, batch, monkeypatch
):
    backbone = make_model().base_model
    hooked = taken(HiddenStates(backbone, "tiny"), batch, [0, 2])
    monkeypatch.setattr(HiddenStates, "_find_blocks", lambda *_: None)
    states = HiddenStates(backbone, "tiny")
    assert not states.is_hooked
    for layer, state in taken(states, batch, [0, 2]).items():
        assert torch.equal(state, hooked[layer])


def test_encoders_are_seen_to_be_bidirectional():
    assert HiddenStates(make_encoder(), "tiny").attention == "bidirectional"


def test_layers_of_unequal_width_are_refused(make_model, monkeypatch):
    backbone = make_model().base_model
    forward = HiddenStates._all_states

    def uneven(self, ids, mask):
        states = forward(self, ids, mask)
        return (states[0][..., :16], *states[1:])

    monkeypatch.setattr(HiddenStates, "_all_states", uneven)
    with pytest.raises(UserError, match="model tiny: its layers have different widths"):
        HiddenStates(backbone, "tiny")


def test_states_that_a_model_goes_on_to_change_are_not_handed_out_on_the_way(make_model, batch):
    backbone = make_model().base_model
    backbone.layers[1].register_forward_pre_hook(lambda _, args: args[0].mul_(2))
    states = HiddenStates(backbone, "tiny")
    assert not states.is_hooked
    with torch.no_grad():
        wanted = backbone(*batch, output_hidden_states=True).hidden_states
    text = batch[1].bool()
    for layer, state in taken(states, batch, [0, 1, 2]).items():
        assert torch.equal(state[text], wanted[layer][text])
