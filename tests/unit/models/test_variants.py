"""Variants made without training: merges, new random weights, weights read through few bits."""

import hashlib
import json
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from gguf.quants import dequantize, quantize
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Pooling, Transformer
from tiny_families import make_family, marked, save_family
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, Qwen2ForCausalLM

from hrsa.errors import UserError
from hrsa.models.loading import load_backbone, load_language_model, weights_sha256
from hrsa.models.merge import merge_models, slerp
from hrsa.models.quantised import QUANTISATIONS, quantise
from hrsa.models.reinitialised import STREAM, reinitialise
from hrsa.models.retrieve import materialise_path
from hrsa.models.variants import StoredWeights, write_weights

QUERY = "model.layers.0.self_attn.q_proj.weight"
EMBEDDINGS = "model.embed_tokens.weight"


@pytest.fixture
def model_of(tmp_path, tokenizer):
    """Save a random model under a name; gives its folder."""

    def save(name: str, family: str = "qwen2", own=tokenizer, **how) -> Path:
        return save_family(tmp_path / name, family, own, **how)

    return save


@pytest.fixture
def two(model_of):
    """Two models that differ in their weights alone, with tied heads."""
    return [model_of(f"m{seed}", seed=seed, tie_word_embeddings=True) for seed in (0, 1)]


@pytest.fixture
def embedding_model(tmp_path, tokenizer):
    """Save an embedding model as sentence-transformers does, with a Dense module or without."""

    def save(name: str, seed: int, dense: bool = False) -> Path:
        language_model = save_family(tmp_path / f"{name}-lm", "qwen2", tokenizer, seed=seed)
        transformer = Transformer(str(language_model), max_seq_length=32)
        transformer.model.config.is_causal = False
        modules = [transformer, Pooling(transformer.get_embedding_dimension(), pooling_mode="mean")]
        if dense:
            torch.manual_seed(seed)
            modules.append(Dense(in_features=32, out_features=16))
        folder = tmp_path / name
        SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(folder))
        return folder

    return save


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def record_of(folder: Path) -> dict:
    return json.loads((folder / "record.json").read_text())


def make_merge(parents, output, weight=0.5, method="linear"):
    return merge_models(*parents, output, method=method, weight=weight)


VARIANTS = {
    "merge": lambda parents, output: make_merge(parents, output, 0.3, "slerp"),
    "reinitialised": lambda parents, output: reinitialise(parents[0], output, seed=5),
    "quantised": lambda parents, output: quantise(parents[0], output, type="Q8_0"),
}
EACH = pytest.mark.parametrize("recipe", VARIANTS)


# What every variant has


@EACH
def test_the_record_says_what_was_made_and_that_nothing_was_trained(recipe, two, tmp_path):
    (two[0] / "record.json").write_text('{"seed": 7, "note": "weights dequantised from Q4_1"}')
    output = tmp_path / "made"
    assert VARIANTS[recipe](two, output) == record_of(output)
    record = record_of(output)
    assert (record["model"], record["recipe"], record["parent"]) == ("made", recipe, "m0")
    assert record["seed"] == (5 if recipe == "reinitialised" else 7)
    assert record["sha256"] == weights_sha256(output) != weights_sha256(two[0])
    assert (record["steps"], record["train_tokens"], record["checkpoints"]) == (0, 0, {})
    assert record["attention"] == "causal"
    assert ("dequantised from Q4_1" in record["note"]) == (recipe != "reinitialised")
    assert str(tmp_path) not in (output / "record.json").read_text()


@EACH
def test_the_relative_weight_change_is_that_of_the_backbone(recipe, two, tmp_path):
    VARIANTS[recipe](two, tmp_path / "made")
    before, after = weights_of(two[0]), weights_of(tmp_path / "made")
    change = sum(float((after[name] - before[name]).square().sum()) for name in before)
    norm = sum(float(weight.square().sum()) for weight in before.values())
    expected = (change / norm) ** 0.5
    assert record_of(tmp_path / "made")["relative_weight_change"] == pytest.approx(expected)
    assert expected > 1e-3


@EACH
def test_a_variant_is_a_model_like_any_other_and_repeats_itself(recipe, two, tmp_path):
    for name in ("one", "two"):
        VARIANTS[recipe](two, tmp_path / name)
        model, _ = load_language_model(tmp_path / name)
        assert model.lm_head.weight is model.model.embed_tokens.weight
        load_backbone(tmp_path / name, attention="bidirectional")
    assert weights_sha256(tmp_path / "one") == weights_sha256(tmp_path / "two")
    assert (tmp_path / "one" / "tokenizer.json").exists()
    assert not list((tmp_path / "one").glob("*.partial"))


@EACH
def test_weights_in_several_files_and_behind_links_are_read_and_never_written(
    recipe, two, model_of, tmp_path
):
    sharded = model_of("sharded", seed=0, tie_word_embeddings=True, shard="20KB")
    assert len(list(sharded.glob("model-*.safetensors"))) > 1
    linked = tmp_path / "linked"
    materialise_path(sharded, linked)
    before = {file: hashlib.sha256(file.read_bytes()).digest() for file in sharded.iterdir()}
    output = tmp_path / "m0-again"
    output.mkdir()  # an earlier source of this name left links in it
    for file in sharded.glob("*.safetensors*"):
        (output / file.name).symlink_to(file)
    (output / "model.safetensors").symlink_to(sharded / "tokenizer.json")
    VARIANTS[recipe]([linked, two[1]], output)
    assert {file: hashlib.sha256(file.read_bytes()).digest() for file in before} == before
    assert sorted(output.glob("model*.safetensors*")) == [output / "model.safetensors"]
    assert not (output / "model.safetensors").is_symlink()
    VARIANTS[recipe](two, tmp_path / "plain")
    assert weights_sha256(output) == weights_sha256(tmp_path / "plain")


@EACH
def test_a_variant_of_an_embedding_model_stays_one(recipe, embedding_model, tmp_path):
    parents = [embedding_model("e0", 0), embedding_model("e1", 1)]
    VARIANTS[recipe](parents, tmp_path / "made")
    assert record_of(tmp_path / "made")["attention"] == "bidirectional"
    made = SentenceTransformer(str(tmp_path / "made"), device="cpu")
    assert [type(module) for module in made] == [Transformer, Pooling]
    vectors = [
        model.encode(["Rain fell"]) for model in (made, SentenceTransformer(str(parents[0])))
    ]
    assert np.abs(vectors[0] - vectors[1]).max() > 1e-4


@pytest.mark.parametrize("recipe", ["merge", "quantised"])
def test_a_dense_module_is_made_in_the_same_way(recipe, embedding_model, tmp_path):
    parents = [embedding_model(f"e{seed}", seed, dense=True) for seed in (0, 1)]
    VARIANTS[recipe](parents, tmp_path / "made")
    before, after = (
        load_file(f / "2_Dense/model.safetensors") for f in (parents[0], tmp_path / "made")
    )
    assert before.keys() == after.keys()
    assert not torch.equal(before["linear.weight"], after["linear.weight"])
    assert SentenceTransformer(str(tmp_path / "made")).encode(["Rain"]).shape == (1, 16)


def test_a_dense_module_cannot_be_drawn_anew(embedding_model, tmp_path):
    with pytest.raises(UserError, match=r"modules with weights of their own \(2_Dense\)"):
        reinitialise(embedding_model("e", 0, dense=True), tmp_path / "made", seed=0)


@EACH
def test_packed_weights_are_refused(recipe, two, tmp_path):
    config = json.loads((two[0] / "config.json").read_text())
    (two[0] / "config.json").write_text(json.dumps(config | {"quantization_config": {"bits": 4}}))
    with pytest.raises(UserError, match="stored packed"):
        VARIANTS[recipe](two, tmp_path / "made")


def test_what_is_written_tensor_by_tensor_is_a_safetensors_file_like_any_other(tmp_path):
    torch.manual_seed(0)
    weights = {
        "half": torch.randn(3, 5).bfloat16(),
        "scalar": torch.tensor(2.5),
        "turned": torch.randn(4, 6).T,
        "places": torch.arange(7),
        "none": torch.zeros(0, 3),
    }
    layout = {name: (weight.dtype, tuple(weight.shape)) for name, weight in weights.items()}
    write_weights(tmp_path / "model.safetensors", layout, weights.get)
    plain = {name: weight.contiguous() for name, weight in weights.items()}
    save_file(plain, tmp_path / "theirs.safetensors", {"format": "pt"})
    ours, theirs = (load_file(tmp_path / f"{n}.safetensors") for n in ("model", "theirs"))
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[name], weight) for name, weight in weights.items())
    assert (tmp_path / "model.safetensors").stat().st_size == (
        tmp_path / "theirs.safetensors"
    ).stat().st_size
    stored = StoredWeights(tmp_path)
    assert stored.layout == layout
    assert all(torch.equal(stored[name], weight) for name, weight in weights.items())


# Merges


@pytest.mark.parametrize("method", ["linear", "slerp"])
def test_at_either_end_a_merge_is_one_of_the_two_exactly(two, tmp_path, method):
    for weight, parent in zip((0, 1), two, strict=True):
        make_merge(two, tmp_path / "made", weight, method)
        merged, expected = weights_of(tmp_path / "made"), weights_of(parent)
        assert merged.keys() == expected.keys()
        assert all(torch.equal(merged[name], expected[name]) for name in expected)


def test_a_linear_merge_is_the_weighted_mean(two, tmp_path):
    make_merge(two, tmp_path / "made", 0.25)
    merged, a, b = (weights_of(folder) for folder in (tmp_path / "made", *two))
    for name in a:
        torch.testing.assert_close(merged[name], 0.75 * a[name] + 0.25 * b[name])


def test_a_spherical_merge_goes_along_the_great_circle_of_each_tensor(two, tmp_path):
    make_merge(two, tmp_path / "made", 0.3, "slerp")
    merged, a, b = (weights_of(folder) for folder in (tmp_path / "made", *two))
    x, y = a[QUERY].double().flatten(), b[QUERY].double().flatten()
    angle = torch.arccos(x @ y / x.norm() / y.norm())
    expected = torch.sin(0.7 * angle) / torch.sin(angle) * x
    expected += torch.sin(0.3 * angle) / torch.sin(angle) * y
    torch.testing.assert_close(merged[QUERY].flatten(), expected.float())
    assert (merged[QUERY] - (0.7 * a[QUERY] + 0.3 * b[QUERY])).abs().max() > 1e-2
    # norms are all ones in both models: parallel, so that they stay what they are
    norms = sum(weight.ndim == 1 and bool((weight == 1).all()) for weight in a.values())
    zeros = sum(bool((weight == 0).all()) for weight in a.values())
    note = record_of(tmp_path / "made")["note"]
    assert norms == 5
    assert torch.equal(merged["model.norm.weight"], a["model.norm.weight"])
    assert f"linear for {norms + zeros} of {len(a)} tensors" in note
    assert "spherical merge of m0 and m1 (0.3 of the latter)" in note
    assert record_of(tmp_path / "made")["merged_with"] == "m1"


@pytest.mark.parametrize("weight", [0.2, 0.5, 0.9])
def test_on_a_sphere_the_norm_stays_and_the_angle_is_shared_by_the_weight(weight):
    generator = torch.Generator().manual_seed(4)
    a, b = torch.randn(2, 6, 7, generator=generator, dtype=torch.float64)
    a, b = a / a.norm(), b / b.norm()
    between = slerp(a, b, weight)
    angle = torch.arccos((a * b).sum())
    assert float(between.norm()) == pytest.approx(1)
    assert float(torch.arccos((a * between).sum())) == pytest.approx(float(weight * angle))
    torch.testing.assert_close(between, slerp(b, a, 1 - weight))


def test_the_two_interpolations_agree_where_the_spherical_one_gives_way():
    generator = torch.Generator().manual_seed(4)
    a, noise = torch.randn(2, 4000, generator=generator, dtype=torch.float64)
    assert slerp(a, a, 0.5) is slerp(a, -a, 0.5) is slerp(a, 0 * a, 0.5) is None
    assert slerp(a, a + 0.02 * noise, 0.5) is None
    b = a + 0.035 * noise
    merged = slerp(a, b, 0.5)
    assert 0 < (merged - (a + b) / 2).norm() / a.norm() < 1e-3


def test_the_wider_of_two_stored_types_is_kept(two, tmp_path):
    half = AutoModelForCausalLM.from_pretrained(two[1], dtype=torch.bfloat16)
    half.save_pretrained(two[1])
    make_merge(two, tmp_path / "made", 1)
    assert {weight.dtype for weight in weights_of(tmp_path / "made").values()} == {torch.float32}
    make_merge([two[1], two[1]], tmp_path / "half")
    assert {weight.dtype for weight in weights_of(tmp_path / "half").values()} == {torch.bfloat16}
    assert json.loads((tmp_path / "half" / "config.json").read_text())["dtype"] == "bfloat16"


def test_a_head_that_one_model_has_a_copy_of_stays_tied(two, tmp_path):
    weights = weights_of(two[1])
    weights["lm_head.weight"] = weights[EMBEDDINGS].clone()
    save_file(weights, two[1] / "model.safetensors", {"format": "pt"})
    for parents in (two, two[::-1]):
        make_merge(parents, tmp_path / "made")
        model, _ = load_language_model(tmp_path / "made")
        assert model.lm_head.weight is model.model.embed_tokens.weight


def test_tokenizers_that_only_remember_another_call_are_the_same(two, tmp_path):
    content = json.loads((two[1] / "tokenizer.json").read_text())
    cut = {"max_length": 9, "strategy": "LongestFirst", "direction": "Right", "stride": 0}
    (two[1] / "tokenizer.json").write_text(json.dumps(content | {"truncation": cut}))
    make_merge(two, tmp_path / "made")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"family": "llama"}, r"`model_type` \(qwen2 and llama\)\."),
        ({"hidden_size": 48}, r"`hidden_size` \(32 and 48\)"),
        ({"num_hidden_layers": 3}, r"`layer_types` .*; `num_hidden_layers` \(2 and 3\)"),
        ({"tie_word_embeddings": False}, r"`tie_word_embeddings` \(True and False\)"),
    ],
)
def test_models_of_different_architecture_are_refused(two, model_of, tmp_path, changes, named):
    other = model_of("other", **{"tie_word_embeddings": True, **changes})
    with pytest.raises(UserError, match=named) as error:
        make_merge([two[0], other], tmp_path / "made")
    assert "The models m0 and other cannot be merged" in str(error.value)
    assert not (tmp_path / "made").exists()


def test_a_model_without_its_head_does_not_fit_one_with_it(two, tmp_path):
    AutoModel.from_pretrained(two[1]).save_pretrained(two[1])
    with pytest.raises(UserError, match=r"the weight model\.\S+ \(not in m1\)"):
        make_merge(two, tmp_path / "made")


def test_weights_of_another_shape_than_the_configuration_says_are_named(two, tmp_path):
    weights = weights_of(two[1])
    weights["model.norm.weight"] = torch.ones(31)
    save_file(weights, two[1] / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"the shape of model\.norm\.weight \(32 and 31\)"):
        make_merge(two, tmp_path / "made")


def test_models_of_different_tokenizers_are_refused(two, tokenizer, tmp_path):
    marked(tokenizer, "<|start|>", "<|stop|>").save_pretrained(two[1])
    with pytest.raises(UserError, match=r"the tokenizer \(its added_tokens, post_processor\)"):
        make_merge(two, tmp_path / "made")


@pytest.mark.parametrize(
    ("arguments", "allowed"),
    [({"method": "ties"}, "linear, slerp"), ({"weight": 1.5}, "numbers from 0 to 1")],
)
def test_an_argument_that_is_not_allowed_is_named(two, tmp_path, arguments, allowed):
    with pytest.raises(UserError, match=f"allowed.* {allowed}"):
        make_merge(two, tmp_path / "made", **arguments)


# New random weights


@pytest.mark.parametrize("family", ["qwen2", "bert"])
def test_new_weights_have_the_parents_names_and_scale_and_are_their_seeds(
    family, model_of, tokenizer, tmp_path
):
    own = marked(tokenizer, "<|start|>", "<|stop|>") if family == "bert" else tokenizer
    parent = model_of("parent", family, own, initializer_range=0.07)
    state = torch.random.get_rng_state()
    for name, seed in (("one", 1), ("again", 1), ("other", 2)):
        reinitialise(parent, tmp_path / name, seed=seed)
    assert torch.equal(torch.random.get_rng_state(), state)
    before, one = weights_of(parent), weights_of(tmp_path / "one")
    assert {n: w.shape for n, w in one.items()} == {n: w.shape for n, w in before.items()}
    assert weights_sha256(tmp_path / "one") == weights_sha256(tmp_path / "again")
    assert weights_sha256(tmp_path / "one") != weights_sha256(tmp_path / "other")
    matrices = [weight for weight in one.values() if weight.ndim == 2]
    assert torch.cat([m.flatten() for m in matrices]).std() == pytest.approx(0.07, rel=0.05)
    expected = make_family(family, own, seed=1 + STREAM, initializer_range=0.07)
    for name, weight in expected.state_dict().items():
        assert name not in one or torch.equal(one[name], weight)
    assert load_backbone(tmp_path / "one")[0].config.initializer_range == 0.07


def test_with_the_seed_of_a_pretraining_its_initial_weights_do_not_come_out(tmp_path, tokenizer):
    parent = save_family(tmp_path / "parent", "qwen2", tokenizer, seed=3)  # hardly trained at all
    torch.manual_seed(3)
    initial = Qwen2ForCausalLM(AutoConfig.from_pretrained(parent)).state_dict()
    record = reinitialise(parent, tmp_path / "made", seed=3)
    after = weights_of(tmp_path / "made")
    matrices = [name for name, weight in after.items() if weight.ndim == 2]
    assert all(torch.equal(weights_of(parent)[name], initial[name]) for name in matrices)
    assert not any(torch.equal(after[name], initial[name]) for name in matrices)
    assert record["relative_weight_change"] > 0.5


# Weights read through a quantisation


def test_the_types_are_those_that_gguf_can_write():
    row = np.ones((2, 256), np.float32)

    def can(kind) -> bool:
        try:
            quantize(row, kind)
        except NotImplementedError:
            return False
        return True

    kinds = {kind.name for kind in gguf.GGMLQuantizationType if can(kind)}
    assert set(QUANTISATIONS) == kinds - {"F32"}


def test_matrices_are_read_through_the_type_and_all_else_stays(model_of, tmp_path):
    parent = model_of("parent")
    quantise(parent, tmp_path / "made", type="Q4_1")
    before, after = weights_of(parent), weights_of(tmp_path / "made")
    assert before.keys() == after.keys()
    kind = gguf.GGMLQuantizationType.Q4_1
    matrices = {name for name, weight in before.items() if weight.ndim == 2}
    assert {EMBEDDINGS, QUERY, "lm_head.weight"} <= matrices
    assert len(matrices) == 16
    error = norm = 0.0
    for name, weight in before.items():
        expected = weight
        if name in matrices:
            expected = torch.from_numpy(dequantize(quantize(weight.numpy(), kind), kind))
            error += float((expected - weight).square().sum())
            norm += float(weight.square().sum())
        assert torch.equal(after[name], expected)
    relative = (error / norm) ** 0.5
    record = record_of(tmp_path / "made")
    assert 0.03 < relative < 0.2
    assert record["quantisation_error"] == pytest.approx(relative)
    assert record["note"] == f"16 matrices read through Q4_1 (relative error {relative:.3g})"


def test_fewer_bits_lose_more(two, tmp_path):
    errors = [
        quantise(two[0], tmp_path / type, type=type)["quantisation_error"]
        for type in ("F16", "BF16", "Q8_0", "Q5_0", "Q4_0")
    ]
    assert errors == sorted(errors)
    assert errors[0] > 0
    # read again, they are what they are
    again = quantise(tmp_path / "Q8_0", tmp_path / "again", type="Q8_0")
    assert again["quantisation_error"] < errors[2] / 50


def test_matrices_whose_rows_do_not_fit_are_left_whole_and_counted(model_of, tmp_path):
    parent = model_of("parent", intermediate_size=80)
    quantise(parent, tmp_path / "made", type="Q8_0")
    before, after = weights_of(parent), weights_of(tmp_path / "made")
    name = "model.layers.0.mlp.down_proj.weight"
    assert before[name].shape == (32, 80)
    assert torch.equal(before[name], after[name])
    note = record_of(tmp_path / "made")["note"]
    assert "14 matrices" in note
    assert "2 left whole, their rows being no multiple of 32" in note


def test_positions_and_segments_are_not_quantised(model_of, tokenizer, tmp_path):
    parent = model_of("parent", "bert", marked(tokenizer, "<|start|>", "<|stop|>"))
    quantise(parent, tmp_path / "made", type="Q8_0")
    before, after = weights_of(parent), weights_of(tmp_path / "made")
    same = {name for name, w in before.items() if w.ndim == 2 and torch.equal(w, after[name])}
    assert {name.split(".")[-2] for name in same} == {
        "position_embeddings",
        "token_type_embeddings",
    }


def test_half_precision_becomes_single_in_what_is_written(two, tmp_path):
    AutoModelForCausalLM.from_pretrained(two[0], dtype=torch.bfloat16).save_pretrained(two[0])
    quantise(two[0], tmp_path / "made", type="Q8_0")
    assert {weight.dtype for weight in weights_of(tmp_path / "made").values()} == {torch.float32}
    assert json.loads((tmp_path / "made" / "config.json").read_text())["dtype"] == "float32"
    quantise(two[0], tmp_path / "same", type="BF16")
    assert record_of(tmp_path / "same")["relative_weight_change"] == 0


@pytest.mark.parametrize("type", ["Q4_K", "int4"])
def test_a_type_that_cannot_be_written_is_refused(two, tmp_path, type):
    with pytest.raises(UserError, match=f"'{type}'; allowed: F16, .*Q4_0"):
        quantise(two[0], tmp_path / "made", type=type)


def test_a_type_that_fits_no_matrix_is_refused(two, tmp_path):
    with pytest.raises(UserError, match="multiple of 256, the block of TQ1_0"):
        quantise(two[0], tmp_path / "made", type="TQ1_0")
    assert not (tmp_path / "made").exists()
