"""How much of a finished study's time went to start-up, imports and scheduling: `make benchmark`.

Snakemake's benchmark files give each job's wall time. What a job's script imports is imported again
here, in a fresh interpreter, to learn how long its start-up takes; gaps in which no job ran are
scheduling.
"""

import ast
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import pandas as pd

SCRIPTS = Path(__file__).parents[1] / "scripts"
REPEATS = 3


@dataclass(frozen=True)
class JobTime:
    """When one job ran, in seconds."""

    rule: str
    start: float
    end: float


def job_times(folder: Path) -> list[JobTime]:
    """Read when each job of a study ran, from its benchmark files."""
    jobs = []
    for path in sorted((folder / "logs" / "timing").rglob("*.tsv")):
        seconds = float(pd.read_csv(path, sep="\t")["s"].iloc[0])
        end = path.stat().st_mtime
        rule = path.relative_to(folder / "logs" / "timing").parts[0].removesuffix(".tsv")
        jobs.append(JobTime(rule, end - seconds, end))
    return jobs


def idle_seconds(jobs: list[JobTime]) -> float:
    """Time between the first job's start and the last one's end in which no job ran."""
    idle, until = 0.0, min(job.start for job in jobs)
    for job in sorted(jobs, key=lambda job: job.start):
        idle += max(0.0, job.start - until)
        until = max(until, job.end)
    return idle


def imports_of(script: Path) -> str:
    """Collect the import statements of a script, those inside blocks too."""
    tree = ast.parse(script.read_text(encoding="utf-8"))
    lines = [ast.unparse(n) for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)]
    return "\n".join(lines)


def start_up_seconds(script: Path) -> float:
    """Measure a fresh interpreter with the imports that a script and Snakemake make in it."""
    program = f"import snakemake.script\n{imports_of(script)}"
    times = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
        times.append(time.perf_counter() - begin)
    return median(times)


def overhead(folder: Path, *, cores: int = 2) -> pd.DataFrame:
    """Give jobs, time in jobs and time in their start-up by rule, and the total.

    Parameters
    ----------
    folder
        Results of a study that ran in one go.
    cores
        Jobs that ran side by side: their start-up is shared between that many.

    Returns
    -------
    DataFrame
        Columns rule, jobs, wall (s, in jobs) and start_up (s, of these jobs); the last rows are
        the scheduling gaps and the share of the study's wall time that all of it took.
    """
    jobs = job_times(folder)
    rows = []
    for rule in sorted({job.rule for job in jobs}):
        here = [job for job in jobs if job.rule == rule]
        start_up = len(here) * start_up_seconds(SCRIPTS / f"{rule}.py")
        rows.append((rule, len(here), sum(job.end - job.start for job in here), start_up))
    total = max(job.end for job in jobs) - min(job.start for job in jobs)
    gaps = idle_seconds(jobs)
    lost = sum(row[-1] for row in rows) / cores + gaps
    rows.append(("(gaps without a job)", 0, gaps, gaps))
    rows.append(("(whole study)", len(jobs), total, lost))
    return pd.DataFrame(rows, columns=["rule", "jobs", "wall", "start_up"])


def main() -> None:
    """Print the table for a study's results, the default study's unless another is named."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "results/miniature")
    if not (folder / "logs" / "timing").exists():
        sys.exit(f"{folder} holds no timings. Run the study first: make study")
    table = overhead(folder)
    print(table.to_string(index=False, float_format="%.1f"))
    whole = table.iloc[-1]
    print(
        f"\nStart-up, imports and scheduling: {whole['start_up']:.0f} s, "
        f"{whole['start_up'] / whole['wall']:.0%} of {whole['wall']:.0f} s."
    )


if __name__ == "__main__":
    main()
