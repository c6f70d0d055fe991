"""The `hrsa` command: what it prints and writes, and how it ends."""

import re
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file
from typer.testing import CliRunner

from hrsa.activations.store import ActivationWriter
from hrsa.cli import View, app
from hrsa.similarity import dimension_correlation, knn_overlap, linear_cka, procrustes
from hrsa.similarity.results import SIMILARITY_COLUMNS
from hrsa.similarity.views import VIEWS

SIZES = np.random.default_rng(5).integers(4, 9, 30)
N_ROWS = int(SIZES.sum())


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def hidden_states(seed, width=8, noise=0.5):
    """States of one width share their signal; the seed is that of the noise."""
    rng = np.random.default_rng(7)
    signal = rng.standard_normal((N_ROWS, 6)) @ rng.standard_normal((6, width))
    return signal + noise * np.random.default_rng(seed).standard_normal(signal.shape)


def write_file(path: Path, *, seed=0, width=8, layers=(0, 1, 2), **header):
    position = np.concatenate([np.arange(size) for size in SIZES])
    known = {"model": f"model-{seed}", "dataset": "texts", "attention": "causal"}
    with ActivationWriter(
        path,
        header=known | {"dataset_sha256": "1" * 64} | header,
        samples=[f"text-{number}" for number in range(len(SIZES))],
        sample_offsets=np.concatenate([[0], np.cumsum(SIZES)]),
        tokens={
            "id": np.arange(N_ROWS) % 11,
            "position": position,
            "char_start": position * 2,
            "char_end": position * 2 + 1,
        },
        layers=list(layers),
        width=width,
        dtype="float32",
    ) as writer:
        for layer in layers:
            values = hidden_states(10 * seed + layer, width)
            writer.write(layer, slice(0, N_ROWS), values.astype(np.float32))
    return path


@pytest.fixture
def pair(tmp_path):
    return write_file(tmp_path / "a.h5"), write_file(tmp_path / "b.h5", seed=1)


@pytest.fixture
def arrays(tmp_path):
    """Two arrays as files, their values, and the sample of each row, rows in a random order."""
    order = np.random.default_rng(3).permutation(N_ROWS)
    X, Y = hidden_states(1)[order], hidden_states(2)[order]
    samples = np.repeat(np.arange(len(SIZES)), SIZES)[order]
    for name, values in {"x": X, "y": Y, "samples": samples}.items():
        np.save(tmp_path / f"{name}.npy", values)
    return tmp_path, X, Y, samples


def rows_of(path: Path, **wanted):
    table = pd.read_csv(path)
    for column, value in wanted.items():
        table = table[table[column] == value]
    return table


def only_value(path: Path, **wanted):
    (value,) = rows_of(path, **wanted)["value"]
    return value


def one_paragraph(result):
    """The error: a single line of its own, and no traceback."""
    assert result.exit_code == 2
    assert result.exception is None or isinstance(result.exception, SystemExit)
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert "Traceback" not in result.stderr
    return errors[0]


def test_two_files_give_a_table_with_the_columns_of_a_study(pair, tmp_path):
    result = run("compare", *pair, "--out", tmp_path / "out" / "table.csv")
    assert result.exit_code == 0
    assert result.stderr == ""
    table = pd.read_csv(tmp_path / "out" / "table.csv")
    assert tuple(table.columns) == SIMILARITY_COLUMNS
    assert set(table["metric"]) == {"correlation", "procrustes", "cka", "knn"}
    assert set(table["pair"]) == {"a~b"}
    assert set(table["dataset"]) == {"texts"}
    assert (table["reference"].unique(), table["candidate"].unique()) == (["model-0"], ["model-1"])
    assert list((tmp_path / "out").iterdir()) == [tmp_path / "out" / "table.csv"]


def test_the_table_is_printed_with_means_and_outer_layers(pair):
    printed = run("compare", *pair, "--metric", "cka").stdout
    assert "model-0 and model-1, data set texts" in printed
    rows = re.findall(r"^ +cka sample_debiased +(\S+) +(\S+)", printed, re.MULTILINE)
    assert [layer for layer, _ in rows] == ["mean", "0", "2"]
    assert re.search(r"more rows, of other layers, are written with --out", printed)


def test_printed_numbers_are_the_written_ones(pair, tmp_path):
    printed = run("compare", *pair, "--metric", "cka", "--out", tmp_path / "t.csv").stdout
    mean = only_value(
        tmp_path / "t.csv", variant="sample_debiased", statistic="cka", layer_reference=-1
    )
    assert re.search(rf"cka sample_debiased +mean +{mean:.4f} ", printed)


def test_what_the_intervals_rest_on_is_printed(pair):
    printed = run("compare", *pair, "--metric", "correlation").stdout
    assert "95 % intervals: jackknife over 25 blocks of samples, t(24)." in printed


def test_every_note_that_is_referred_to_is_printed(pair):
    printed = run("compare", *pair).stdout
    referred = set(re.findall(r"\[(\d+)\]$", printed, re.MULTILINE))
    listed = set(re.findall(r"^\[(\d+)\] \S", printed, re.MULTILINE))
    assert referred == listed != set()


def test_metrics_and_ks_are_chosen_by_repeating_the_option(pair, tmp_path):
    options = ["--metric", "knn", "--metric", "correlation", "--k", 3, "--k", 6]
    assert run("compare", *pair, *options, "--out", tmp_path / "t.csv").exit_code == 0
    assert set(pd.read_csv(tmp_path / "t.csv")["metric"]) == {"correlation", "knn"}
    assert set(rows_of(tmp_path / "t.csv", metric="knn")["k"]) == {3, 6}


def test_p_values_rest_on_as_many_permutations_as_asked_for(pair, tmp_path):
    options = ["--metric", "correlation", "--out", tmp_path / "t.csv"]
    assert run("compare", *pair, *options, "--permutations", 19).exit_code == 0
    means = rows_of(tmp_path / "t.csv", statistic="mean", layer_reference=-1)
    assert means["p"].tolist() == pytest.approx([1 / 20])
    assert run("compare", *pair, *options, "--permutations", 0).exit_code == 0
    assert pd.read_csv(tmp_path / "t.csv")["p"].isna().all()


def test_views_have_rows_of_their_own_and_say_so(pair, tmp_path):
    out = tmp_path / "table.csv"
    views = ("raw", "zscored", "half_a")
    options = [part for view in views for part in ("--view", view)]
    done = run("compare", *pair, "--metric", "cka", *options, "--out", out)
    table = pd.read_csv(out)
    assert table["view"].unique().tolist() == list(views)
    n_samples = table.groupby("view")["n_samples"].unique()
    assert (n_samples["raw"], n_samples["half_a"]) == ([30], [15])
    assert "cka biased (zscored)" in done.output
    assert "each dimension scaled to variance 1" in done.output


def test_the_command_knows_the_views_of_the_library():
    assert [view.value for view in View] == list(VIEWS)


def test_massive_tokens_of_an_array_are_removed(arrays):
    folder, *values, _ = arrays
    paths = folder / "large-x.npy", folder / "large-y.npy"
    for path, array in zip(paths, values, strict=True):
        array[3] *= 1000
        np.save(path, array)
    done = run("compare", *paths, "--metric", "cka", "--view", "massive_removed")
    assert f"1 of {N_ROWS} tokens removed" in done.output


def test_layers_that_were_asked_for_are_compared_alone(pair, tmp_path):
    options = ["--metric", "cka", "--layers", "1,2", "--out", tmp_path / "t.csv"]
    printed = run("compare", *pair, *options).stdout
    table = pd.read_csv(tmp_path / "t.csv")
    assert set(table["layer_reference"]) == {-1, 1, 2}
    assert table["note"].str.contains("only layers 1, 2").all()
    rows = re.findall(r"^ +cka biased +(\S+) ", printed, re.MULTILINE)
    assert rows == ["mean", "1", "2"]


def test_a_chosen_layer_of_a_deeper_model_meets_its_counterpart(tmp_path):
    shallow = write_file(tmp_path / "a.h5")
    deep = write_file(tmp_path / "b.h5", seed=1, layers=(0, 1, 2, 3, 4))
    options = ["--metric", "cka", "--layers", "1", "--out", tmp_path / "t.csv"]
    assert run("compare", shallow, deep, *options).exit_code == 0
    cells = rows_of(tmp_path / "t.csv", variant="biased", statistic="cka")
    places = set(zip(cells["layer_reference"], cells["layer_candidate"], strict=True))
    assert places == {(1, 2), (-1, -1)}


def test_two_runs_print_and_write_the_same_bytes(pair, tmp_path):
    outputs = []
    for name in ("one.csv", "two.csv"):
        printed = run("compare", *pair, "--out", tmp_path / name).stdout
        outputs.append((printed, (tmp_path / name).read_bytes()))
    assert outputs[0] == outputs[1]


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path):
    paths = [
        write_file(tmp_path / name / "texts.h5", seed=seed)
        for seed, name in enumerate(("base", "sft"))
    ]
    options = ["--metric", "correlation", "--out", tmp_path / "t.csv"]
    assert run("compare", *paths, *options).exit_code == 0
    assert set(pd.read_csv(tmp_path / "t.csv")["pair"]) == {"base~sft"}


def test_unequal_widths_leave_correlation_out_and_say_so(tmp_path):
    paths = write_file(tmp_path / "a.h5"), write_file(tmp_path / "b.h5", seed=1, width=5)
    result = run("compare", *paths, "--out", tmp_path / "t.csv")
    assert result.exit_code == 0
    assert "warning: correlation is left out: it needs equal widths, got 8 and 5" in result.stderr
    assert set(pd.read_csv(tmp_path / "t.csv")["metric"]) == {"procrustes", "cka", "knn"}
    asked = run("compare", *paths, "--metric", "correlation")
    assert "equal width, got 8 and 5" in one_paragraph(asked)


def test_models_that_read_with_different_attention_are_noted(tmp_path):
    paths = write_file(tmp_path / "a.h5"), write_file(tmp_path / "b.h5", attention="bidirectional")
    run("compare", *paths, "--metric", "correlation", "--out", tmp_path / "t.csv")
    notes = pd.read_csv(tmp_path / "t.csv")["note"]
    assert notes.str.contains("reference causal, candidate bidirectional").all()


def test_files_on_other_data_are_bad_input(tmp_path):
    paths = write_file(tmp_path / "a.h5"), write_file(tmp_path / "b.h5", dataset_sha256="2" * 64)
    assert "different data sets" in one_paragraph(run("compare", *paths))


def test_a_missing_file_is_bad_input(tmp_path, pair):
    missing = tmp_path / "nowhere.h5"
    assert f"{missing}: there is no activation file" in one_paragraph(
        run("compare", pair[0], missing)
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--layers", "1,9"], "--layers asks for 9; the file stores layers 0, 1, 2"),
        (["--layers", "1-2"], "layers are numbers from 0 with commas"),
        (["--tensor", "x"], "--tensor is for arrays"),
        (["--k", "5000"], "5000 neighbours are wanted"),
    ],
)
def test_options_that_do_not_fit_are_bad_input(pair, options, message):
    assert message in one_paragraph(run("compare", *pair, *options))


def test_an_unknown_metric_is_bad_input(pair):
    result = run("compare", *pair, "--metric", "cca")
    assert result.exit_code == 2
    assert "cca" in result.stderr


def test_a_table_that_cannot_be_written_is_bad_input(pair, tmp_path):
    (tmp_path / "taken").write_text("")
    options = ["--metric", "correlation", "--out", tmp_path / "taken" / "t.csv"]
    assert "cannot be written here" in one_paragraph(run("compare", *pair, *options))


def test_arrays_give_what_the_functions_give(arrays):
    folder, X, Y, samples = arrays
    options = ["--samples", folder / "samples.npy", "--out", folder / "t.csv"]
    result = run("compare", folder / "x.npy", folder / "y.npy", *options)
    assert (result.exit_code, result.stderr) == (0, "")
    out = folder / "t.csv"
    wanted = {
        ("mean", "correlation", None): dimension_correlation(X, Y, samples=samples),
        ("cos", "procrustes", None): procrustes(X, Y, samples=samples),
        ("cka", "cka", "biased"): linear_cka(X, Y),
        ("cka", "cka", "song"): linear_cka(X, Y, debiased=True),
        ("cka", "cka", "sample_debiased"): linear_cka(X, Y, debiased=True, samples=samples),
        ("jaccard", "knn", "self"): knn_overlap(X, Y),
        ("jaccard", "knn", "sample"): knn_overlap(X, Y, exclude="sample", samples=samples),
    }
    for (statistic, metric, variant), result in wanted.items():
        chosen = {"variant": variant} if variant else {}
        row = rows_of(out, statistic=statistic, metric=metric, **chosen)
        assert row["value"].tolist() == pytest.approx([result.value], abs=1e-9)
    table = pd.read_csv(out)
    assert tuple(table.columns) == SIMILARITY_COLUMNS
    assert set(table["pair"]) == {"x~y"}
    assert table[["layer_reference", "layer_candidate", "dataset"]].isna().all(axis=None)


def test_the_type_exclusion_comes_with_tokens(arrays):
    folder, X, Y, samples = arrays
    tokens = np.array([f"token {number}" for number in np.arange(N_ROWS) % 11])
    np.save(folder / "tokens.npy", tokens)
    options = ["--samples", folder / "samples.npy", "--tokens", folder / "tokens.npy"]
    options += ["--metric", "knn", "--k", 4, "--out", folder / "t.csv"]
    assert run("compare", folder / "x.npy", folder / "y.npy", *options).exit_code == 0
    found = only_value(folder / "t.csv", statistic="jaccard", variant="type")
    wanted = knn_overlap(X, Y, k=4, exclude="type", samples=samples, tokens=tokens).value
    assert found == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize("dtype", ["float16", "float32", "int16"])
def test_arrays_of_other_types_lose_nothing(tmp_path, dtype):
    X, Y = ((20 * hidden_states(seed)).astype(dtype) for seed in (1, 2))
    save_file({"states": X}, tmp_path / "x.safetensors")
    np.save(tmp_path / "y.npy", Y)
    options = ["--metric", "correlation", "--out", tmp_path / "t.csv"]
    result = run("compare", tmp_path / "x.safetensors", tmp_path / "y.npy", *options)
    assert (result.exit_code, result.stderr) == (0, "")
    wanted = dimension_correlation(X, Y).value
    assert only_value(tmp_path / "t.csv", statistic="mean") == pytest.approx(wanted, abs=1e-9)


def test_bfloat16_is_read_as_it_is(tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file as save_tensors

    tensors = [torch.tensor(hidden_states(seed), dtype=torch.bfloat16) for seed in (1, 2)]
    for name, tensor in zip("xy", tensors, strict=True):
        save_tensors({"states": tensor}, tmp_path / f"{name}.safetensors")
    options = ["--metric", "correlation", "--out", tmp_path / "t.csv"]
    paths = tmp_path / "x.safetensors", tmp_path / "y.safetensors"
    assert run("compare", *paths, *options).exit_code == 0
    wanted = dimension_correlation(*tensors).value
    assert only_value(tmp_path / "t.csv", statistic="mean") == pytest.approx(wanted, abs=1e-9)


def test_one_of_several_arrays_is_chosen_by_name(tmp_path):
    X, Y = hidden_states(1), hidden_states(2)
    save_file({"first": X, "second": Y}, tmp_path / "x.safetensors")
    save_file({"second": Y}, tmp_path / "y.safetensors")
    paths = tmp_path / "x.safetensors", tmp_path / "y.safetensors"
    assert "by --tensor which array to compare; it holds first, second" in one_paragraph(
        run("compare", *paths)
    )
    assert "there is no array 'third'; it holds first, second" in one_paragraph(
        run("compare", *paths, "--tensor", "third")
    )
    options = ["--tensor", "second", "--metric", "correlation", "--out", tmp_path / "t.csv"]
    assert run("compare", *paths, *options).exit_code == 0
    assert only_value(tmp_path / "t.csv", statistic="mean") == pytest.approx(1)


def test_arrays_on_their_side_are_warned_of_once(tmp_path):
    for name, seed in (("x", 1), ("y", 2)):
        np.save(tmp_path / f"{name}.npy", np.random.default_rng(seed).standard_normal((20, 30)))
    result = run("compare", tmp_path / "x.npy", tmp_path / "y.npy", "--metric", "correlation")
    assert result.exit_code == 0
    assert result.stderr.count("warning: X has shape (20, 30) and Y (20, 30)") == 1


def test_a_row_that_is_not_finite_is_named_by_its_place_in_the_file(arrays):
    folder, X, _, _ = arrays
    X[57, 3] = np.nan
    np.save(folder / "x.npy", X)
    result = run("compare", folder / "x.npy", folder / "y.npy", "--samples", folder / "samples.npy")
    assert f"{folder / 'x.npy'} holds nan at row 57, column 3" in one_paragraph(result)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": np.zeros((N_ROWS, 2, 2))}, "matrix of shape (n_tokens, width)"),
        ({"x": np.array(["a", "b"])}, "must hold real numbers"),
        ({"x": np.ones((3, 8))}, f"X has 3 rows and Y has {N_ROWS}"),
        ({"samples": np.arange(5)}, f"the sample of each of the {N_ROWS} rows, got shape (5,)"),
        ({"samples": np.arange(N_ROWS) % 3}, "needs at least 4 rows of 4 samples"),
    ],
)
def test_arrays_that_do_not_fit_are_bad_input(arrays, changes, message):
    folder = arrays[0]
    for name, values in changes.items():
        np.save(folder / f"{name}.npy", values)
    result = run("compare", folder / "x.npy", folder / "y.npy", "--samples", folder / "samples.npy")
    assert message in one_paragraph(result)


def test_pickled_objects_are_never_loaded(arrays):
    folder = arrays[0]
    np.save(folder / "x.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    assert "no readable .npy file" in one_paragraph(
        run("compare", folder / "x.npy", folder / "y.npy")
    )


def test_files_that_are_no_arrays_are_bad_input(arrays):
    folder = arrays[0]
    for name, message in (("z.npy", "no readable .npy"), ("z.safetensors", "cannot be read")):
        (folder / name).write_bytes(b"something else")
        assert message in one_paragraph(run("compare", folder / name, folder / "y.npy"))
    assert "there is no such file" in one_paragraph(
        run("compare", folder / "none.npy", folder / "y.npy")
    )


def test_a_file_and_an_array_cannot_be_matched(pair, arrays):
    message = one_paragraph(run("compare", pair[0], arrays[0] / "x.npy"))
    assert "one is an activation file and one an array" in message


def test_other_kinds_of_file_are_bad_input(tmp_path):
    message = one_paragraph(run("compare", tmp_path / "x.csv", tmp_path / "y.csv"))
    assert "this one ends in '.csv'" in message


def test_nothing_is_left_behind(arrays, monkeypatch, tmp_path):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    assert (
        run("compare", arrays[0] / "x.npy", arrays[0] / "y.npy", "--metric", "cka").exit_code == 0
    )
    assert list((tmp_path / "temporary").iterdir()) == []


def test_inspect_shows_header_and_sizes_and_verifies(pair):
    result = run("inspect", pair[0])
    assert result.exit_code == 0
    for line in (
        "layers: 0, 1, 2",
        "width: 8",
        f"tokens: {N_ROWS}",
        "samples: 30",
        "  model: model-0",
        "  attention: causal",
        "checksums: all match",
    ):
        assert line in result.stdout.splitlines()


def test_inspect_names_file_layer_and_rows_of_damage(pair):
    with h5py.File(pair[0], "r+") as file:
        file["layers/01"][3, 2] += 1
    result = run("inspect", pair[0])
    assert result.exit_code == 1
    assert f"{pair[0]}: the activation file is damaged: layer 1, rows 0 to" in result.stderr
    assert "checksums: all match" not in result.stdout


def test_compare_refuses_a_damaged_file(pair):
    with h5py.File(pair[1], "r+") as file:
        file["layers/02"][0, 0] += 1
    assert "layer 2, rows 0 to" in one_paragraph(run("compare", *pair))


def test_inspect_of_a_file_cut_short_is_damage(pair):
    content = pair[0].read_bytes()
    pair[0].write_bytes(content[: len(content) // 2])
    assert run("inspect", pair[0]).exit_code == 1


def test_inspect_without_a_file_is_bad_input(tmp_path):
    assert "there is no activation file" in one_paragraph(run("inspect", tmp_path / "none.h5"))


def test_help_lists_the_commands():
    result = run("--help")
    assert result.exit_code == 0
    assert "compare" in result.stdout
    assert "inspect" in result.stdout
