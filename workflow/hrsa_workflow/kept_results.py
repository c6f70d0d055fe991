"""Results of finished benchmark tasks, which outlive the job that made them, however it ends.

They belong to a model and a suite. The jobs that a suite is divided into share them, so that a task
is found again however the division changes. Each task has a folder of its own, which is put in its
place by renaming: the whole of it is there, or nothing. Jobs with other tasks may run at the same
time. Nothing is removed but what a task's new result replaces: a task that the study leaves out and
asks for again later is still there, and no job can take another's for leftovers.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

RECORD = ".record.json"


class KeptResults:
    """What is kept of a model's tasks of one suite, and the results of one job.

    Parameters
    ----------
    results
        Folder of the job's results, which Snakemake removes before the job.
    folder
        What is kept; on the same disk, since files are moved and get second names.
    """

    def __init__(self, results: Path, folder: Path) -> None:
        self.results, self.folder = results, folder
        for place in (results, folder):
            place.mkdir(parents=True, exist_ok=True)

    def find(self, task: str, key: Mapping[str, Any]) -> dict[str, Any] | None:
        """Give the row of a finished task with this key, its files then being results of the job.

        Returns
        -------
        dict, or None where there is no such result or a file of it is gone
        """
        record = _read_record(self.folder / task / f"{task}{RECORD}")
        if record is None or record["key"] != key:
            return None
        if not all((self.folder / task / name).exists() for name in record["files"]):
            return None
        self._show(task)
        print(f"kept {task}: it was run on the same model, data, code and libraries")
        return dict(record["row"])

    @contextmanager
    def room(self) -> Iterator[Path]:
        """Give an empty folder to run a task in; what is not added is gone afterwards.

        It lies in the job's results: if the job is killed, Snakemake removes it with them.
        """
        with TemporaryDirectory(dir=self.results) as place:
            files = Path(place) / "files"
            files.mkdir()
            yield files

    def add(self, task: str, record: Mapping[str, Any], files: Path) -> None:
        """Keep what a task left, in place of what is kept of it, as results of the job too.

        Parameters
        ----------
        task
            Its name.
        record
            With its "key" and its "row".
        files
            The folder from `room` that it was run in.
        """
        names = sorted(file.name for file in files.iterdir())
        content = json.dumps({**record, "files": names}, indent=1, ensure_ascii=False) + "\n"
        (files / f"{task}{RECORD}").write_text(content, encoding="utf-8")
        place = self.folder / task
        if place.exists():
            place.rename(files.with_name("former"))
        files.rename(place)
        self._show(task)

    def _show(self, task: str) -> None:
        for file in (self.folder / task).iterdir():
            _link(file, self.results / file.name)


def _link(file: Path, other: Path) -> None:
    """Give a file a second name, or a copy where the disk has no such names."""
    other.unlink(missing_ok=True)
    try:
        os.link(file, other)
    except OSError:
        shutil.copy2(file, other)


def _read_record(path: Path) -> dict[str, Any] | None:
    """The record; None where there is none, or one that was cut short."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError):
        return None
