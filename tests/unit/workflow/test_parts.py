"""Which parts of a data set stay when the number of its shards changes."""

import numpy as np
import pytest

from hrsa.activations.shards import join_shards
from hrsa.activations.store import ActivationWriter, open_activations
from hrsa.errors import UserError
from hrsa_workflow.parts import remove_other_parts


def write(path, **header):
    number = header.get("shard", 0)
    with ActivationWriter(
        path,
        header={"model": "tiny", **header},
        samples=[f"sample-{number}"],
        sample_offsets=[0, 2],
        tokens={name: [0, 1] for name in ("id", "position", "char_start", "char_end")},
        layers=[0],
        width=3,
        dtype="float32",
    ) as writer:
        writer.write(0, slice(None), np.full((2, 3), number, dtype="f4"))
    return path


@pytest.fixture
def parts(tmp_path):
    """The two parts of `texts`."""
    folder = tmp_path / "texts.shards"
    folder.mkdir()
    return [write(folder / f"{shard}.h5", shard=shard, n_shards=2) for shard in range(2)]


@pytest.fixture
def leftovers(parts):
    """What three larger numbers of shards left behind."""
    folder = parts[0].parent
    names = ("2.h5", "3.h5.finished", "4.h5.partial", "4.h5.journal", "11.h5")
    for name in names:
        (folder / name).write_bytes(b"of no use")
    return sorted(folder / name for name in names)


@pytest.mark.parametrize("copy", [False, True])
def test_parts_that_are_too_many_are_removed_after_joining(parts, leftovers, tmp_path, copy):
    join_shards(parts, tmp_path / "texts.h5", copy=copy)
    assert remove_other_parts(tmp_path / "texts.h5", parts) == leftovers
    assert sorted(parts[0].parent.iterdir()) == parts
    with open_activations(tmp_path / "texts.h5", verify=True) as activations:
        assert activations.layer(0)[:][:, 0].tolist() == [0, 0, 1, 1]


def test_parts_that_a_file_refers_to_stay_whatever_else_goes(parts, leftovers, tmp_path):
    join_shards(parts, tmp_path / "texts.h5")
    assert remove_other_parts(tmp_path / "texts.h5") == leftovers
    with open_activations(tmp_path / "texts.h5", verify=True) as activations:
        assert activations.n_tokens == 4


def test_a_file_of_its_own_leaves_no_parts_and_no_folder(parts, tmp_path):
    write(tmp_path / "texts.h5")
    assert remove_other_parts(tmp_path / "texts.h5") == parts
    assert [path.name for path in tmp_path.iterdir()] == ["texts.h5"]


def test_files_of_other_names_and_other_data_sets_stay(parts, tmp_path):
    write(tmp_path / "texts.h5")
    notes = parts[0].with_name("notes.txt")
    notes.write_text("mine")
    other = tmp_path / "texts.2.shards" / "0.h5"
    other.parent.mkdir()
    other.write_bytes(b"of texts.2")
    remove_other_parts(tmp_path / "texts.h5")
    assert list(parts[0].parent.iterdir()) == [notes]
    assert other.exists()


def test_nothing_is_removed_beside_a_file_that_cannot_be_read(parts, tmp_path):
    (tmp_path / "texts.h5").write_bytes(b"cut short")
    with pytest.raises(UserError, match=r"texts\.h5"):
        remove_other_parts(tmp_path / "texts.h5")
    assert all(part.exists() for part in parts)
