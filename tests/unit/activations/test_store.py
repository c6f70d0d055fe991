"""The file gives back what was written, refuses what is damaged, and is the same twice."""

import doctest
import json
import subprocess
import sys
import time
from contextlib import suppress

import h5py
import numpy as np
import pytest

from hrsa.activations import store, writer
from hrsa.activations.encoding import STORED_TYPES
from hrsa.activations.store import (
    SCHEMA_VERSION,
    ActivationWriter,
    extraction_header,
    header_matches,
    open_activations,
)
from hrsa.errors import UserError


def test_rows_written_in_random_order_come_back_in_their_place(write_file):
    path, values = write_file(dtype="float64")
    with open_activations(path, verify=True) as activations:
        assert activations.layers == [0, 1, 2]
        assert (activations.n_tokens, activations.width, activations.n_samples) == (10, 5, 3)
        for layer in activations.layers:
            assert np.array_equal(activations.layer(layer)[:], values[layer])
        assert activations.samples.ids.tolist() == ["b", "empty", "a"]
        assert activations.sample_of_row.tolist() == [0] * 4 + [2] * 6
        assert activations.sample_of_row.dtype == np.int32
        assert activations.tokens.char_end.tolist() == [2, 4, 6, 8, 1, 2, 3, 4, 5, 6]
        assert list(activations.blocks(4)) == [slice(0, 4), slice(4, 8), slice(8, 10)]


def test_layers_are_contiguous_and_uncompressed_in_the_oldest_readable_format(write_file):
    path, _ = write_file()
    with h5py.File(path) as file:
        layer = file["layers/00"]
        assert layer.chunks is None
        assert layer.compression is None
        assert layer.id.get_offset() is not None
        assert set(file) == {"samples", "tokens", "layers", "checksums"}
    assert path.read_bytes()[8] == 0  # version of the superblock


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_any_selection_of_rows_equals_numpys(write_file, dtype):
    path, _ = write_file(dtype=dtype)
    with open_activations(path) as activations:
        layer = activations.layer(1)
        everything = np.asarray(layer)
        assert everything.dtype == layer.dtype == np.float32
        assert len(layer) == 10
        assert layer.shape == (10, 5)
        mask = np.arange(10) % 3 == 0
        for rows in (slice(2, 7), slice(7, 2), slice(None, None, -2), [9, 0, 0, -1, 4], mask, []):
            assert np.array_equal(layer[rows], everything[rows])
        assert np.array_equal(layer[3], everything[3])
        with pytest.raises(IndexError, match="row 10 is outside the 10 rows"):
            layer[np.array([1, 10])]


def test_scattered_rows_over_many_reads_come_back_in_the_asked_order(write_file, monkeypatch):
    monkeypatch.setattr("hrsa.activations.layer_rows._GATHER_ROWS", 3)
    path, _ = write_file()
    rows = np.random.default_rng(1).permutation(10)
    with open_activations(path) as activations:
        layer = activations.layer(0)
        assert np.array_equal(layer[rows], layer[:][rows])


def test_bfloat16_values_are_kept_without_loss(write_file):
    bits = np.random.default_rng(0).integers(0, 2**16, size=(10, 5)).astype(np.uint16)
    bits[(bits & 0x7F80) == 0x7F80] = 0x8001  # no NaN or infinity; a negative subnormal instead
    exact = (bits.astype(np.uint32) << 16).view(np.float32)
    path, _ = write_file(dtype="bfloat16", values={1: exact})
    with h5py.File(path) as file:
        assert file["layers/01"].dtype == np.uint16
        assert np.array_equal(file["layers/01"][:], bits)
    with open_activations(path, verify=True) as activations:
        assert np.array_equal(activations.layer(1)[:], exact)


def test_other_values_are_rounded_to_the_nearest_bfloat16_as_torch_does(write_file):
    torch = pytest.importorskip("torch")
    values = np.random.default_rng(3).normal(size=(10, 5)).astype(np.float32)
    values[0] = [1.00390625, 1.01171875, -1.00390625, 3e38, 0.0]  # ties go to even
    path, _ = write_file(dtype="bfloat16", values={0: values})
    with open_activations(path) as activations:
        expected = torch.from_numpy(values).to(torch.bfloat16).float().numpy()
        assert np.array_equal(activations.layer(0)[:], expected)


def test_float16_rounds_to_the_nearest_and_is_read_as_float32(write_file):
    values = np.random.default_rng(3).normal(size=(10, 5))
    values[0] = [65504.0, -65504.0, 2**-24, 1e-9, 0.0]
    path, _ = write_file(dtype="float16", values={1: values})
    with h5py.File(path) as file:
        assert file["layers/01"].dtype == np.float16
    with open_activations(path, verify=True) as activations:
        layer = activations.layer(1)
        assert layer.dtype == layer[:].dtype == np.float32
        assert np.array_equal(layer[:], values.astype(np.float16).astype(np.float32))


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
def test_a_file_is_hardly_larger_than_its_values(tmp_path, dtype):
    n_rows, width, layers = 3000, 96, [0, 1, 2, 3]
    path = tmp_path / "x.h5"
    rows = np.arange(n_rows)
    with ActivationWriter(
        path,
        header={},
        samples=[f"sample-{number}" for number in range(100)],
        sample_offsets=np.arange(0, n_rows + 1, 30),
        tokens={"id": rows, "position": rows % 30, "char_start": rows, "char_end": rows + 1},
        layers=layers,
        width=width,
        dtype=dtype,
    ) as writer:
        for layer in layers:
            writer.write(layer, rows, np.ones((n_rows, width), np.float32))
    values = n_rows * width * len(layers) * STORED_TYPES[dtype].itemsize
    assert values < path.stat().st_size < 1.03 * values


def test_header_comes_back_with_its_types(write_file, header):
    path, _ = write_file()
    with open_activations(path) as activations:
        attrs = activations.attrs
    assert attrs["template"] is None
    assert attrs["seed"] == 42
    assert attrs["schema_version"] == SCHEMA_VERSION
    assert attrs["dtype"] == "float32"
    assert attrs["n_layers"] == 2
    assert set(attrs["library_versions"]) == {"torch", "transformers", "h5py", "numpy"}
    assert {name: attrs[name] for name in header} == header


def test_a_finished_file_matches_its_header_and_no_other(write_file, header, tmp_path):
    path, _ = write_file()
    wanted = extraction_header(header)
    assert header_matches(path, wanted)
    assert not header_matches(path, extraction_header({**header, "seed": 43}))
    assert not header_matches(path, extraction_header(header, max_length=256))
    assert not header_matches(path, {**wanted, "unknown": None})
    old = {**wanted["library_versions"], "torch": "0.0"}
    assert not header_matches(path, {**wanted, "library_versions": old})
    assert not header_matches(tmp_path / "missing.h5", wanted)
    path.write_bytes(path.read_bytes()[:-100])
    assert not header_matches(path, wanted)


def test_header_values_that_cannot_be_stored_are_refused(header):
    with pytest.raises(ValueError, match="extra"):
        ActivationWriter("x.h5", header={"extra": [1]}, **_tables())


def _tables(**changes):
    tokens = {"id": [1, 2], "position": [0, 1], "char_start": [0, 1], "char_end": [1, 2]}
    tables = {
        "samples": ["a"],
        "sample_offsets": [0, 2],
        "tokens": tokens,
        "layers": [0],
        "width": 3,
        "dtype": "float32",
    }
    return {**tables, **changes}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dtype": "int8"}, "float32, float64, bfloat16, float16"),
        ({"samples": ["a", "a"], "sample_offsets": [0, 1, 2]}, "unique"),
        ({"sample_offsets": [0, 1]}, "sample_offsets"),
        ({"layers": []}, "layers"),
        ({"layers": [0, 0]}, "layers"),
        ({"tokens": {**_tables()["tokens"], "char_end": [2, 2]}}, "same character"),
        ({"tokens": {**_tables()["tokens"], "position": [0]}}, "differ in length"),
    ],
)
def test_tables_that_contradict_each_other_are_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        ActivationWriter(tmp_path / "x.h5", header={}, **_tables(**changes))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_values_that_are_not_finite_stop_the_file_with_model_sample_and_layer(
    write_file, tmp_path, bad, dtype
):
    values = np.ones((10, 5))
    values[6, 2] = bad
    with pytest.raises(UserError, match=r"model tiny.*layer 2 .*sample 'a'.*position 2"):
        write_file(dtype=dtype, values={2: values})
    assert list(tmp_path.iterdir()) == []


def test_values_too_large_for_the_stored_type_are_refused(write_file):
    with pytest.raises(UserError, match="stored as float32"):
        write_file(values={0: np.full((10, 5), 1e300)})
    with pytest.raises(UserError, match="stored as bfloat16"):
        write_file(dtype="bfloat16", values={0: np.full((10, 5), 3.4e38)})
    with pytest.raises(UserError, match=r"too large for float16.*sample 'b'.*bfloat16, float32"):
        write_file(dtype="float16", values={0: np.full((10, 5), 65520.0)})


def test_a_failed_writing_leaves_the_earlier_file_as_it_was(write_file, tmp_path):
    path, _ = write_file()
    before = path.read_bytes()
    with pytest.raises(UserError):
        write_file(values={0: np.full((10, 5), np.nan)})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_the_final_name_appears_only_when_everything_is_written(tmp_path):
    path = tmp_path / "deep" / "x.h5"
    writer = ActivationWriter(path, header={}, **_tables())
    writer.write(0, slice(0, 1), np.ones((1, 3)))
    assert not path.exists()
    with pytest.raises(UserError, match=r"unfinished x\.h5\.partial is beside it"):
        open_activations(path)
    with pytest.raises(ValueError, match="1 of 2 rows are missing, the first is row 1"):
        writer.close()
    assert list(path.parent.iterdir()) == []


def test_writing_rows_or_layers_that_the_file_has_not_is_refused(tmp_path):
    writer = ActivationWriter(tmp_path / "x.h5", header={}, **_tables())
    with pytest.raises(ValueError, match="layer 4"):
        writer.write(4, slice(0, 2), np.ones((2, 3)))
    with pytest.raises(ValueError, match="shape"):
        writer.write(0, slice(0, 2), np.ones((2, 4)))
    with pytest.raises(IndexError, match="row 2"):
        writer.write(0, np.array([2]), np.ones((1, 3)))
    writer.abort()


def test_a_missing_layer_is_an_error_that_lists_the_stored_ones(write_file):
    path, _ = write_file()
    with (
        open_activations(path) as activations,
        pytest.raises(UserError, match=r"layer 7 .*stores layers 0, 1, 2"),
    ):
        activations.layer(7)


def test_an_unfinished_file_is_not_taken_for_a_whole_one(tmp_path):
    writer = ActivationWriter(tmp_path / "x.h5", header={}, **_tables(), resume=True)
    writer.write(0, slice(0, 2), np.ones((2, 3)))
    with pytest.raises(UserError, match="unfinished: its extraction was stopped"):
        open_activations(tmp_path / "x.h5.partial")
    writer.close()


def test_the_example_of_the_documentation_runs(write_file, tmp_path, monkeypatch):
    (tmp_path / "base").mkdir()
    write_file("base/questions.h5")
    monkeypatch.chdir(tmp_path)
    outcome = doctest.testmod(store)
    assert outcome.attempted > 10
    assert outcome.failed == 0


def test_a_missing_file_says_so(tmp_path):
    with pytest.raises(UserError, match=r"x\.h5: there is no activation file here"):
        open_activations(tmp_path / "x.h5")


def test_a_file_cut_short_says_so(write_file):
    path, _ = write_file()
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(UserError, match=r"a\.h5.*cut short"):
        open_activations(path)


def test_other_files_are_told_apart(tmp_path):
    text = tmp_path / "text.h5"
    text.write_text("not an HDF5 file")
    with pytest.raises(UserError, match="not a readable HDF5 file"):
        open_activations(text)
    other = tmp_path / "other.h5"
    h5py.File(other, "w").close()
    with pytest.raises(UserError, match="not an activation file"):
        open_activations(other)


def test_another_schema_version_is_refused(write_file):
    path, _ = write_file()
    with h5py.File(path, "r+") as file:
        file.attrs["schema_version"] = SCHEMA_VERSION + 1
    with pytest.raises(UserError, match=r"schema version 2.*reads version 1"):
        open_activations(path)


def test_a_changed_value_is_found_and_named_by_file_layer_and_rows(write_file, monkeypatch):
    monkeypatch.setattr("hrsa.activations.writer.BLOCK_ROWS", 4)
    path, _ = write_file()
    with h5py.File(path) as file:
        at = file["layers/01"].id.get_offset() + (6 * 5 + 1) * 4
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
    with open_activations(path) as activations:
        activations.layer(1)[:]
        with pytest.raises(UserError, match=r"a\.h5.*layer 1, rows 4 to 7"):
            activations.verify()
    with pytest.raises(UserError, match="layer 1, rows 4 to 7"):
        open_activations(path, verify=True)


def test_changed_checksums_do_not_pass_for_good_ones(write_file):
    path, _ = write_file()
    with h5py.File(path, "r+") as file:
        file["checksums/02"].attrs["sha256"] = "0" * 64
    with pytest.raises(UserError, match=r"layer 2.*layer's hash"):
        open_activations(path, verify=True)


@pytest.mark.parametrize(
    ("table", "column"), [("tokens", "char_end"), ("tokens", "id"), ("samples", "offset")]
)
def test_a_changed_table_is_found_when_it_is_read(write_file, table, column):
    path, _ = write_file()
    with h5py.File(path, "r+") as file:
        file[table][column][1] += 1
    with (
        open_activations(path) as activations,
        pytest.raises(UserError, match=f"table of {table}"),
    ):
        getattr(activations, table)


def test_a_changed_header_is_found_at_opening(write_file):
    path, _ = write_file()
    with h5py.File(path, "r+") as file:
        file.attrs["seed"] = 43
    with pytest.raises(UserError, match="header does not match"):
        open_activations(path)


def test_damage_anywhere_is_an_error_for_people_or_harmless(write_file, tmp_path):
    path, values = write_file(dtype="float64")
    content = path.read_bytes()
    damaged = tmp_path / "damaged.h5"
    rng = np.random.default_rng(0)
    for place in rng.integers(len(content), size=150):
        flipped = bytearray(content)
        flipped[place] ^= 1 << rng.integers(8)
        damaged.write_bytes(flipped)
        with suppress(UserError), open_activations(damaged, verify=True) as activations:
            assert all(np.array_equal(activations.layer(i)[:], values[i]) for i in values)


def test_a_lost_part_is_an_error_of_the_file(write_file):
    path, _ = write_file()
    with h5py.File(path, "r+") as file:
        del file["samples/id"]
    with pytest.raises(UserError, match="damaged"):
        open_activations(path)


def test_two_writings_give_the_same_bytes(write_file):
    first, _ = write_file("a.h5")
    time.sleep(1.1)  # HDF5 keeps times in seconds
    second, _ = write_file("b.h5")
    assert first.read_bytes() == second.read_bytes()


def test_reading_imports_no_torch():
    code = (
        "import sys, json, hrsa.activations as a, hrsa.activations.alignment\n"
        "a.open_activations, a.ActivationWriter, a.paired_rows, a.sample_means, a.header_matches\n"
        "print(json.dumps([m for m in ('torch', 'transformers', 'sklearn') if m in sys.modules]))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert json.loads(result.stdout) == []


def test_the_package_offers_its_names_and_no_others():
    import hrsa.activations as package

    assert all(callable(getattr(package, name)) for name in package.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = package.nothing


def test_an_open_file_is_verified_wherever_its_name_leads_by_now(write_file, tmp_path, monkeypatch):
    path, _ = write_file()
    monkeypatch.chdir(path.parent)
    with open_activations(path.name) as activations:
        monkeypatch.chdir(tmp_path.parent)
        path.rename(path.with_name("moved.h5"))
        activations.verify()


def test_a_file_is_verified_by_who_holds_the_lock_of_h5py(write_file):
    from h5py._hl.base import phil

    path, _ = write_file()
    with open_activations(path) as activations, phil:
        activations.verify()


def test_rows_are_taken_from_their_places_in_a_larger_array(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "_PIECE_VALUES", 40)  # pieces of ten rows
    rng = np.random.default_rng(0)
    given = rng.standard_normal((60, 4)).astype(np.float32)
    places = np.concatenate([np.arange(20, 45), [3, 5, 6], np.arange(50, 58)])
    given[46:50] = np.nan  # between the rows: not written, so not refused
    rows = np.arange(len(places))
    position = np.arange(len(places))
    with ActivationWriter(
        tmp_path / "a.h5",
        header={"model": "tiny"},
        samples=["one"],
        sample_offsets=[0, len(places)],
        tokens={
            "id": position,
            "position": position,
            "char_start": position,
            "char_end": position + 1,
        },
        layers=[0, 1],
        width=4,
        dtype="float32",
    ) as unfinished:
        unfinished.write(0, rows, given, places)
        unfinished.write(1, rows[::-1], given, places[::-1])
        with pytest.raises(UserError, match=r"layer 1 have NaN .* in sample 'one'"):
            unfinished.write(1, rows[:2], given, np.array([45, 46]))
        with pytest.raises(ValueError, match="values of shape"):
            unfinished.write(1, rows, given, places[:-1])
    with open_activations(tmp_path / "a.h5", verify=True) as activations:
        for layer in (0, 1):
            assert np.array_equal(activations.layer(layer)[:], given[places])
