"""An extraction that was stopped goes on where it stopped, and never trusts what may be torn."""

import errno
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections import namedtuple
from contextlib import suppress
from pathlib import Path

import killed_writer
import numpy as np
import pytest
from killed_writer import N_ROWS, batches, open_writer, states, write, write_rest

from hrsa.activations import journal
from hrsa.activations.store import open_activations
from hrsa.errors import UserError

BYTES_OF_STATES = N_ROWS * killed_writer.WIDTH * len(killed_writer.LAYERS) * 4
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.h5"


@pytest.fixture
def partial(path):
    return Path(f"{path}.partial")


@pytest.fixture
def journal_path(path):
    return Path(f"{path}.journal")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Bytes of the file that is written at once, layer after layer."""
    path = tmp_path_factory.mktemp("undisturbed") / "x.h5"
    with open_writer(path, resume=False) as writer:
        for layer in killed_writer.LAYERS:
            writer.write(layer, slice(None), states(layer))
    return path.read_bytes()


@pytest.fixture
def at_each_commit(monkeypatch):
    """Have each commit noted in the journal until `undo` is called."""
    with monkeypatch.context() as patched:
        patched.setattr(journal, "SYNC_SECONDS", 0)
        yield patched


class Stopped(Exception):
    pass


def stop_after(path, n_batches, **changes):
    """Leave an unfinished file with some batches committed; returns their rows."""
    done = batches()[:n_batches]
    with suppress(Stopped), open_writer(path, **changes) as writer:
        for rows in done:
            write(writer, rows)
        raise Stopped
    return np.sort(done, axis=None)


def resumed_rows(path):
    """Rows that an unfinished file has, which is left as it is."""
    rows = None
    with suppress(Stopped), open_writer(path) as writer:
        rows = np.flatnonzero(writer.resumed)
        raise Stopped
    return rows.tolist()


def finish(path, **changes):
    """Go on and finish; returns what the writer said, and the rows that it had."""
    with open_writer(path, **changes) as writer:
        write_rest(writer)
    return writer.origin, np.flatnonzero(writer.resumed)


def run_child(path, pause=0.0, *stage):
    return subprocess.Popen(
        [sys.executable, killed_writer.__file__, str(path), str(pause), *stage],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_killed_at_ten_random_moments_it_ends_as_an_undisturbed_run(path, partial, undisturbed):
    fork = multiprocessing.get_context("fork")
    rng = np.random.default_rng(7)
    for delay in rng.uniform(0, 0.3, size=10):
        child = fork.Process(target=killed_writer.run, args=(path, 0.02))
        child.start()
        child.join(delay)
        child.kill()
        child.join()
        assert child.exitcode == -signal.SIGKILL
        for unfinished in (path, partial):
            with pytest.raises(UserError):
                open_activations(unfinished)
    origin, resumed = finish(path)
    assert origin == f"going on after {len(resumed)} of {N_ROWS} tokens"
    assert 0 < len(resumed) < N_ROWS
    assert path.read_bytes() == undisturbed
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("stage", "n_resumed"),
    [
        ("make_layers", 0),
        # Checksums are made while the last rows go to the disk: these may be lost, no more.
        ("block_digests", None),
        ("replace_digests", N_ROWS),
        ("finish_header", N_ROWS),
        ("os.replace", N_ROWS),
    ],
)
def test_a_kill_while_a_file_begins_or_ends_costs_no_more(path, undisturbed, stage, n_resumed):
    with run_child(path, 0, stage) as child:
        child.communicate()
    assert child.returncode == -signal.SIGKILL
    _, resumed = finish(path)
    assert n_resumed in (None, len(resumed))
    assert path.read_bytes() == undisturbed


def test_after_an_exception_it_goes_on_with_what_was_committed(path, undisturbed):
    done = stop_after(path, 30)
    assert not path.exists()
    origin, resumed = finish(path)
    assert origin == f"going on after {len(done)} of {N_ROWS} tokens"
    assert resumed.tolist() == done.tolist()
    assert path.read_bytes() == undisturbed
    assert list(path.parent.iterdir()) == [path]


def test_rows_that_were_written_and_not_committed_are_written_anew(path):
    with suppress(Stopped), open_writer(path) as writer:
        writer.write(0, slice(0, 8), states(0)[:8])
        raise Stopped
    origin, resumed = finish(path)
    assert origin == f"going on after 0 of {N_ROWS} tokens"
    assert len(resumed) == 0


def test_a_fresh_start_says_nothing(path):
    assert finish(path)[0] == ""


def test_a_file_that_is_complete_already_needs_only_its_end(path, undisturbed):
    stop_after(path, len(batches()))
    with open_writer(path) as writer:
        assert writer.resumed.all()
    assert path.read_bytes() == undisturbed


def test_without_resume_an_unfinished_file_is_neither_used_nor_kept(path, undisturbed):
    stop_after(path, 5)
    stop_after(path, 5, resume=False)
    assert list(path.parent.iterdir()) == []
    stop_after(path, 5)
    assert len(finish(path, resume=False)[1]) == 0
    assert path.read_bytes() == undisturbed


def test_the_finished_file_stays_until_the_next_one_is_finished(path):
    finish(path)
    before = path.read_bytes()
    header = {"model": "other"}
    stop_after(path, 3, header=header)
    assert path.read_bytes() == before
    finish(path, header=header)
    with open_activations(path, verify=True) as activations:
        assert activations.attrs["model"] == "other"


def other_tokens(column):
    position = np.tile(np.arange(killed_writer.LENGTH), killed_writer.N_SAMPLES)
    tokens = {
        "id": np.arange(N_ROWS) % 17,
        "position": position,
        "char_start": 2 * position,
        "char_end": 2 * position + 2,
    }
    return tokens | {column: tokens[column] + 1}


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"header": {"model": "tiny", "seed": 2, "template": None}}, "seed"),
        (
            {"header": {"model": "tiny", "seed": 1, "template": None, "versions": {"numpy": "3"}}},
            "versions.numpy",
        ),
        ({"header": {"model": "tiny", "seed": 1, "versions": {"numpy": "2"}}}, "template"),
        ({"dtype": "float64"}, "dtype"),
        ({"samples": [f"other-{number}" for number in range(100)]}, "table of samples"),
        ({"tokens": other_tokens("id")}, "table of tokens"),
        ({"layers": (0, 1, 2, 3)}, "set of layers"),
        ({"width": 4}, "width"),
    ],
)
def test_another_unfinished_file_is_not_continued_and_it_is_said_why(path, changes, name):
    stop_after(path, 30)
    origin, resumed = finish(path, **changes)
    assert origin == f"starting afresh: the unfinished file was made with another {name}"
    assert len(resumed) == 0
    with open_activations(path, verify=True) as activations:
        for layer in activations.layers:
            assert np.array_equal(activations.layer(layer)[:], states(layer, activations.width))


def test_an_unfinished_file_without_its_journal_is_not_continued(path, journal_path, undisturbed):
    stop_after(path, 30)
    journal_path.unlink()
    origin, resumed = finish(path)
    assert origin == "starting afresh: the unfinished file has no journal"
    assert len(resumed) == 0
    assert path.read_bytes() == undisturbed


def test_an_unfinished_file_that_is_cut_short_is_not_continued(path, partial, undisturbed):
    stop_after(path, 30)
    os.truncate(partial, partial.stat().st_size // 2)
    assert finish(path)[0] == "starting afresh: the unfinished file cannot be read"
    assert path.read_bytes() == undisturbed


def test_a_journal_is_not_believed_of_a_file_that_was_begun_anew(path, partial, undisturbed):
    stop_after(path, 30)
    os.truncate(partial, partial.stat().st_size // 2)
    with run_child(path, 0, "bring_to_disk") as child:
        child.communicate()
    assert child.returncode == -signal.SIGKILL
    assert len(finish(path)[1]) == 0
    assert path.read_bytes() == undisturbed


def test_the_journal_of_another_file_is_not_believed(path, journal_path, undisturbed):
    stop_after(path, 30, width=4)
    foreign = journal_path.read_bytes()
    journal_path.unlink()
    stop_after(path, 1)
    journal_path.write_bytes(foreign)
    assert finish(path)[0] == "starting afresh: the journal is not the unfinished file's"
    assert path.read_bytes() == undisturbed


@pytest.mark.parametrize("left", [0, 1, 8, 9, 12, -1])
def test_a_line_of_the_journal_that_was_torn_is_not_believed(
    path, journal_path, undisturbed, at_each_commit, left
):
    stop_after(path, 3)
    at_each_commit.undo()
    *whole, last = journal_path.read_bytes().splitlines(keepends=True)
    journal_path.write_bytes(b"".join(whole) + last[:left])
    assert resumed_rows(path) == sorted(batches()[:2].ravel())
    # What is added in its place can be read.
    with suppress(Stopped), open_writer(path) as writer:
        write(writer, batches()[10])
        raise Stopped
    _, resumed = finish(path)
    assert resumed.tolist() == sorted(batches()[[0, 1, 10]].ravel())
    assert path.read_bytes() == undisturbed


def test_nothing_is_believed_from_a_changed_line_on(path, journal_path, at_each_commit):
    stop_after(path, 5)
    lines = journal_path.read_bytes().splitlines(keepends=True)
    lines[3] = lines[3].replace(b":", b";", 1)
    journal_path.write_bytes(b"".join(lines))
    assert resumed_rows(path) == sorted(batches()[:2].ravel())


def test_the_journal_holds_no_names(path, journal_path):
    stop_after(path, 3)
    lines = journal_path.read_text().splitlines()
    assert len(lines) == 2
    assert set(lines[0]) <= set("0123456789abcdef ")
    assert set(lines[1]) <= set("0123456789abcdef :")


def test_rows_are_on_disk_before_the_journal_names_them(path, monkeypatch, at_each_commit):
    events = []
    writer = open_writer(path)
    monkeypatch.setattr(journal, "write_all", lambda *_: events.append("line"))
    names = {writer._file: "rows", writer._journal._file: "journal"}
    monkeypatch.setattr(os, "fsync", lambda file: events.append(names[file]))
    write(writer, batches()[0])
    assert events == ["rows", "line", "journal"]
    monkeypatch.undo()
    writer.abort()


def test_rows_that_could_not_be_brought_to_disk_are_not_committed_later(
    path, monkeypatch, at_each_commit
):
    def fail(_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    def extract():
        with open_writer(path) as writer:
            write(writer, batches()[0])
            with monkeypatch.context() as patched:
                patched.setattr(os, "fsync", fail)
                write(writer, batches()[1])

    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        extract()
    assert resumed_rows(path) == sorted(batches()[0])


def test_commits_are_gathered_until_it_is_time(path, journal_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("hrsa.activations.writer.time.monotonic", lambda: now[0])
    with open_writer(path) as writer:
        first, second, third, *others = batches()
        write(writer, first)
        assert len(journal_path.read_bytes().splitlines()) == 1
        now[0] = journal.SYNC_SECONDS
        write(writer, second)
        write(writer, third)
        assert len(journal_path.read_bytes().splitlines()) == 2
        for rows in others:
            write(writer, rows)


def test_rows_that_lack_a_layer_cannot_be_committed(path):
    with open_writer(path) as writer:
        writer.write(0, slice(0, 8), states(0)[:8])
        writer.write(3, slice(0, 8), states(3)[:8])
        with pytest.raises(ValueError, match=r"not written in layers \[1\]"):
            writer.commit(np.arange(8))
        write_rest(writer)


@pytest.mark.parametrize("resume", [True, False])
def test_a_second_writer_is_refused_and_the_first_goes_on(path, undisturbed, resume):
    with open_writer(path, resume=resume) as first:
        write(first, batches()[0])
        with pytest.raises(UserError, match=r"x\.h5: another process is writing this file"):
            open_writer(path)
        with run_child(path) as child:
            _, errors = child.communicate()
        assert child.returncode == 1
        assert "another process is writing this file" in errors
        for rows in batches()[1:]:
            write(first, rows)
    assert path.read_bytes() == undisturbed


def test_a_place_that_cannot_be_written_to_is_told(path):
    path.write_text("a file, and no folder")
    with pytest.raises(UserError, match=r"nothing can be written in .*x\.h5 \("):
        open_writer(path / "y.h5")


def fill_disk_after(monkeypatch, n_calls):
    calls = iter(range(n_calls))
    write_bytes = os.pwrite

    def full(file, data, offset):
        if next(calls, None) is None:
            write_bytes(file, data[: len(data) // 2], offset)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write_bytes(file, data, offset)

    monkeypatch.setattr(os, "pwrite", full)


def test_on_a_full_disk_what_was_written_is_kept_and_goes_on(path, monkeypatch, undisturbed):
    def extract():
        with open_writer(path) as writer:
            write(writer, batches()[0])
            writer._commit_pending()
            fill_disk_after(monkeypatch, 5)
            write_rest(writer)

    with pytest.raises(
        UserError, match=r"x\.h5: the disk is full.*kept in x\.h5\.partial.*goes on"
    ):
        extract()
    monkeypatch.undo()
    assert not path.exists()
    _, resumed = finish(path)
    assert resumed.tolist() == sorted(batches()[0])
    assert path.read_bytes() == undisturbed


def test_on_a_full_disk_nothing_is_left_of_what_cannot_go_on(path, monkeypatch):
    def extract():
        with open_writer(path, resume=False) as writer:
            fill_disk_after(monkeypatch, 5)
            write_rest(writer)

    with pytest.raises(UserError, match=r"x\.h5: the disk is full.*is removed; free about"):
        extract()
    assert list(path.parent.iterdir()) == []


def test_a_file_that_does_not_fit_on_the_disk_is_not_begun(path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 10**9 - 10**5, 10**5))
    with pytest.raises(UserError, match=r"take 135 kB.*135 kB .*100 kB are free.*about 35 kB"):
        open_writer(path)
    assert list(path.parent.iterdir()) == []


def test_what_an_unfinished_file_holds_needs_no_place_again(path, partial, monkeypatch):
    stop_after(path, 200)
    monkeypatch.setattr("hrsa.activations.writer.bytes_held", lambda _: 0)
    before = partial.read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", lambda _: Usage(1, 1, BYTES_OF_STATES // 10))
        with pytest.raises(UserError, match="are still to be written"):
            open_writer(path)
    assert partial.read_bytes() == before
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1, 1, BYTES_OF_STATES // 2))
    assert len(finish(path)[1]) == 800


DISK_THAT_FILLS = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from hrsa.errors import UserError
from killed_writer import batches, open_writer, write, write_rest

path, filler = Path(sys.argv[2]) / "x.h5", Path(sys.argv[2]) / "filler"
try:
    with open_writer(path) as writer:
        write(writer, batches()[0])
        with filler.open("wb", buffering=0) as file:
            try:
                while file.write(bytes(4096)):
                    pass
            except OSError:
                pass
        write_rest(writer)
except UserError as error:
    print(error)
filler.unlink()
with open_writer(path) as writer:
    print(writer.origin)
    write_rest(writer)
print(sorted(one.name for one in path.parent.iterdir()))
Path(sys.argv[3]).write_bytes(path.read_bytes())
"""


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare (Linux)")
def test_a_disk_that_is_really_full_in_the_middle(tmp_path, undisturbed):
    small, out = tmp_path / "small", tmp_path / "out.h5"
    small.mkdir()
    mounted = f"mount -t tmpfs -o size=400k none {small} && exec "
    space = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    if subprocess.run([*space, f"{mounted} true"], capture_output=True).returncode:
        pytest.skip("this system lets no user mount a small disk")
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(DISK_THAT_FILLS))
    here = Path(killed_writer.__file__).parent
    done = subprocess.run(
        [*space, f"{mounted} {sys.executable} {program} {here} {small} {out}"],
        capture_output=True,
        text=True,
        check=True,
    )
    error, origin, names = done.stdout.splitlines()
    assert "the disk is full" in error
    assert "kept in x.h5.partial" in error
    assert origin.startswith("going on after ")
    assert names == "['x.h5']"
    assert out.read_bytes() == undisturbed
