"""Files of the parts of a data set, joined, are the file of the whole."""

import os
import shutil
from contextlib import suppress

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

from hrsa.activations.layout import write_digests
from hrsa.activations.shards import join_shards
from hrsa.activations.store import ActivationWriter, header_matches, open_activations
from hrsa.cli import app
from hrsa.errors import UserError

SIZES = [3, 0, 5, 2, 4, 1, 6]
PARTS = [slice(0, 2), slice(2, 5), slice(5, 7)]
LAYERS, WIDTH = (0, 2), 6
OFFSETS = np.concatenate([[0], np.cumsum(SIZES)])


def states(layer):
    return np.random.default_rng(layer).standard_normal((OFFSETS[-1], WIDTH)).astype("f4")


def write_part(path, samples, *, ids=None, dtype="float32", layers=LAYERS, **header):
    """Write the file of some of the samples, which are neighbours."""
    rows = slice(OFFSETS[samples.start], OFFSETS[samples.stop])
    sizes = SIZES[samples]
    position = np.concatenate([np.arange(size) for size in sizes])
    with ActivationWriter(
        path,
        header={"model": "tiny", "template": None, "versions": {"numpy": "2"}} | header,
        samples=ids or [f"sample-{number}" for number in range(samples.start, samples.stop)],
        sample_offsets=np.concatenate([[0], np.cumsum(sizes)]),
        tokens={
            "id": np.arange(rows.start, rows.stop),
            "position": position,
            "char_start": position,
            "char_end": position + 1,
        },
        layers=layers,
        width=WIDTH,
        dtype=dtype,
    ) as writer:
        for layer in layers:
            writer.write(layer, slice(None), states(layer)[rows])
    return path


@pytest.fixture
def blocks_of_four(monkeypatch):
    for module in ("writer", "shards"):
        monkeypatch.setattr(f"hrsa.activations.{module}.BLOCK_ROWS", 4)


@pytest.fixture
def write_shards(tmp_path, blocks_of_four):
    """Write the three shards, in a folder of their own, and return their paths."""

    def write(**changes):
        (tmp_path / "shards").mkdir()
        return [
            write_part(
                tmp_path / "shards" / f"{number}.h5",
                part,
                shard=number,
                n_shards=3,
                n_truncated=number,
                **changes,
            )
            for number, part in enumerate(PARTS)
        ]

    return write


@pytest.fixture
def joined(write_shards, tmp_path):
    """The path of a file that joins the shards without copying."""
    join_shards(write_shards(), tmp_path / "joined.h5")
    return tmp_path / "joined.h5"


def flip_a_byte(path, layer, row):
    with h5py.File(path) as file:
        at = file[f"layers/{layer:02d}"].id.get_offset() + row * WIDTH * 4
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("copy", [False, True])
def test_joined_shards_read_like_the_file_of_the_whole(write_shards, tmp_path, dtype, copy):
    shards = write_shards(dtype=dtype)
    whole = write_part(tmp_path / "whole.h5", slice(0, 7), dtype=dtype, n_truncated=3)
    joined = tmp_path / "joined.h5"
    join_shards([shards[2], shards[0], shards[1]], joined, copy=copy)
    with (
        open_activations(whole) as wanted,
        open_activations(joined, verify=True) as found,
    ):
        assert found.attrs == wanted.attrs
        assert header_matches(joined, wanted.attrs)
        assert np.array_equal(found.samples.ids, wanted.samples.ids)
        assert np.array_equal(found.samples.offsets, wanted.samples.offsets)
        assert np.array_equal(found.tokens.id, wanted.tokens.id)
        assert np.array_equal(found.tokens.char_end, wanted.tokens.char_end)
        assert found.layers == wanted.layers
        for layer in found.layers:
            assert np.array_equal(found.layer(layer)[:], wanted.layer(layer)[:])
            rows = [20, 0, 9, 3, 2]
            assert np.array_equal(found.layer(layer)[rows], wanted.layer(layer)[rows])
        assert found.sources == ([] if copy else shards)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["joined.h5", "shards", "whole.h5"]


def test_a_copy_is_the_file_of_the_whole_byte_for_byte(write_shards, tmp_path):
    whole = write_part(tmp_path / "whole.h5", slice(0, 7), n_truncated=3)
    join_shards(write_shards(), tmp_path / "joined.h5", copy=True)
    shutil.rmtree(tmp_path / "shards")
    assert (tmp_path / "joined.h5").read_bytes() == whole.read_bytes()


def test_joining_without_a_copy_takes_no_place_for_the_layers(joined):
    with h5py.File(joined) as file:
        assert all(layer.is_virtual for layer in file["layers"].values())
        assert all(layer.id.get_storage_size() == 0 for layer in file["layers"].values())


def test_a_joined_file_and_its_shards_move_together(joined, tmp_path, monkeypatch):
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for path in (joined, tmp_path / "shards"):
        path.rename(moved / path.name)
    monkeypatch.chdir(moved)
    for path in (moved / "joined.h5", "joined.h5"):
        with open_activations(path, verify=True) as activations:
            assert np.array_equal(activations.layer(2)[:], states(2))


def test_a_shard_of_the_same_name_in_the_current_folder_is_not_read(joined, tmp_path, monkeypatch):
    decoy = tmp_path / "decoy" / "shards"
    decoy.mkdir(parents=True)
    for number in range(3):
        path = shutil.copy(tmp_path / "shards" / f"{number}.h5", decoy)
        with h5py.File(path, "r+") as file:
            file["layers/02"][:] = 0
    monkeypatch.chdir(tmp_path / "decoy")
    with open_activations(joined, verify=True) as activations:
        assert np.array_equal(activations.layer(2)[:], states(2))


def test_a_shard_that_is_missing_is_named_at_opening(joined, tmp_path):
    (tmp_path / "shards" / "1.h5").unlink()
    with pytest.raises(UserError, match=r"joined\.h5: .*3 files.*shards/1\.h5 is not there"):
        open_activations(joined)
    assert not header_matches(joined, {})


def test_a_shard_that_was_replaced_is_named_at_opening(joined, tmp_path):
    path = tmp_path / "shards" / "1.h5"
    write_part(path, PARTS[1], shard=1, n_shards=3, n_truncated=1, model="other")
    with pytest.raises(UserError, match=r"shards/1\.h5 is another file than the one"):
        open_activations(joined)


def test_a_shard_of_another_shape_is_named_at_opening(joined, tmp_path):
    path = tmp_path / "shards" / "1.h5"
    write_part(path, slice(2, 4), shard=1, n_shards=3, n_truncated=1)
    with pytest.raises(UserError, match=r"shards/1\.h5 has another shape or type of layers/00"):
        open_activations(joined)


def test_a_shard_that_is_cut_short_is_named_at_opening(joined, tmp_path):
    path = tmp_path / "shards" / "1.h5"
    os.truncate(path, path.stat().st_size - 100)
    with pytest.raises(UserError, match=r"shards/1\.h5 cannot be read"):
        open_activations(joined)


def test_an_unfinished_shard_is_named_at_opening(joined, tmp_path):
    with h5py.File(tmp_path / "shards" / "1.h5", "r+") as file:
        file["checksums"].attrs["header"] = "0" * 64
    with pytest.raises(UserError, match=r"shards/1\.h5 is another file"):
        open_activations(joined)


def test_a_changed_list_of_sources_is_damage(joined):
    with h5py.File(joined, "r+") as file:
        file["sources/edge"][1] += 1
    with pytest.raises(UserError, match=r"damaged.*do not match its seal"):
        open_activations(joined)


def test_a_view_of_other_files_than_those_listed_is_damage(write_shards, tmp_path, monkeypatch):
    def view_of_another(file, layer, *arguments):
        del file[f"layers/{layer:02d}"]
        layout = h5py.VirtualLayout((OFFSETS[-1], WIDTH), "f4")
        layout[:] = h5py.VirtualSource("none.h5", f"layers/{layer:02d}", layout.shape)
        file["layers"].create_virtual_dataset(f"{layer:02d}", layout)
        write_digests(file, layer, *arguments)

    monkeypatch.setattr("hrsa.activations.shards.write_digests", view_of_another)
    join_shards(write_shards(), tmp_path / "joined.h5")
    with pytest.raises(UserError, match="layers/00 is not made of the sources"):
        open_activations(tmp_path / "joined.h5")


@pytest.mark.parametrize("name", ["joined.h5", "shards/1.h5"])
def test_damage_anywhere_is_an_error_for_people_or_harmless(joined, tmp_path, name):
    damaged = tmp_path / name
    content = damaged.read_bytes()
    rng = np.random.default_rng(0)
    for place in rng.integers(len(content), size=150):
        flipped = bytearray(content)
        flipped[place] ^= 1 << rng.integers(8)
        damaged.write_bytes(flipped)
        with suppress(UserError), open_activations(joined, verify=True) as activations:
            assert all(np.array_equal(activations.layer(i)[:], states(i)) for i in LAYERS)


def test_a_changed_value_of_a_shard_is_named_by_layer_and_rows_of_the_whole(joined, tmp_path):
    flip_a_byte(tmp_path / "shards" / "1.h5", layer=2, row=5)
    with (
        open_activations(joined) as activations,
        pytest.raises(UserError, match=r"layer 2, rows 7 to 10"),
    ):
        activations.verify()


def test_a_damaged_shard_is_not_copied(write_shards, tmp_path):
    shards = write_shards()
    flip_a_byte(shards[1], layer=2, row=5)
    with pytest.raises(UserError, match=r"1\.h5.*layer 2, rows 4 to 7"):
        join_shards(shards, tmp_path / "joined.h5", copy=True)
    assert not (tmp_path / "joined.h5").exists()


def test_shards_that_are_not_all_there_are_refused(write_shards, tmp_path):
    shards = write_shards()
    out = tmp_path / "joined.h5"
    for chosen, message in (
        ([], "no files are given"),
        ([shards[0], shards[2]], "shard 1 of 0 to 2 is not among the 2 files"),
        ([*shards, shards[1]], r"both are shard 1"),
        ([*shards[:2], tmp_path / "none.h5"], "there is no activation file"),
        ([*shards[:2], write_part(tmp_path / "x.h5", PARTS[2])], r"x\.h5: this file is no part"),
    ):
        with pytest.raises(UserError, match=message):
            join_shards(chosen, out)
        assert not out.exists()
    with pytest.raises(UserError, match="one of those to join"):
        join_shards(shards, shards[0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "other"}, "model is other, and in .*0.h5 it is tiny"),
        ({"versions": {"numpy": "3"}}, "versions.numpy is 3, and in"),
        ({"dtype": "float64"}, "dtype is float64"),
        ({"layers": (0, 1, 2)}, r"set of layers is \[0, 1, 2\], and in .* it is \[0, 2\]"),
        ({"n_shards": 4}, "n_shards is 4"),
        ({"ids": ["sample-0", "x"]}, "sample 'sample-0' is in more than one"),
    ],
)
def test_shards_of_different_extractions_are_refused(write_shards, tmp_path, changes, message):
    shards = write_shards()
    header = {"shard": 2, "n_shards": 3, "n_truncated": 2}
    write_part(shards[2], PARTS[2], **(header | changes))
    with pytest.raises(UserError, match=message):
        join_shards(shards, tmp_path / "joined.h5")


def test_a_shard_without_a_count_that_others_have_is_refused(write_shards, tmp_path):
    shards = write_shards()
    write_part(shards[2], PARTS[2], shard=2, n_shards=3)
    with pytest.raises(UserError, match="n_truncated is not there"):
        join_shards(shards, tmp_path / "joined.h5")


def test_two_joinings_of_the_same_shards_give_the_same_bytes(write_shards, tmp_path):
    shards = write_shards()
    for name in ("a.h5", "b.h5"):
        join_shards(shards, tmp_path / name)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_inspect_shows_where_the_layers_lie_and_verifies_them(joined, tmp_path):
    done = CliRunner().invoke(app, ["inspect", str(joined)])
    assert done.exit_code == 0
    assert f"layers lie in: {tmp_path / 'shards' / '1.h5'}" in done.stdout.splitlines()
    assert "checksums: all match" in done.stdout
    (tmp_path / "shards" / "1.h5").unlink()
    done = CliRunner().invoke(app, ["inspect", str(joined)])
    assert done.exit_code == 1
    assert "1.h5 is not there" in done.stderr
