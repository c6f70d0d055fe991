"""How many jobs a study has, and how many are still to do: Snakemake's own dry run, counted."""

from __future__ import annotations

import os
import re
import subprocess
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from hrsa.errors import UserError

JOB_TABLE = re.compile(r"^Job stats:\n.*\n-+ +-+\n(.*?)\ntotal ", re.MULTILINE | re.DOTALL)
# There is one such rule for each list of checkpoints (`hrsa_workflow.snakefile.rule_name`).
STEPS = re.compile(r"(_\d+)+$")
# Rules that only name the end of a run.
TARGETS = ("all", "figures")
# Settings of whoever asks must not change what a dry run says.
PROFILE_VARIABLE = "SNAKEMAKE_PROFILE"


def dry_run_arguments(workflow: Any) -> list[str]:
    """Write the options with which Snakemake reads the same study as it does now.

    Parameters
    ----------
    workflow
        Snakemake's object, as the Snakefile sees it.
    """
    files = [str(file) for file in workflow.overwrite_configfiles]
    values = [str(value) for value in workflow.config_settings.config_args or ()]
    triggers = sorted(str(trigger) for trigger in workflow.rerun_triggers)
    return [
        *("--snakefile", str(workflow.main_snakefile)),
        *(["--configfile", *files] if files else []),
        *(["--config", *values] if values else []),
        *("--rerun-triggers", *triggers),
    ]


def count_jobs(python: str, arguments: Sequence[str]) -> tuple[Counter[str], Counter[str]]:
    """Count the jobs of a study by rule, in the folder that Snakemake runs in.

    Parameters
    ----------
    python : str
        The interpreter that has Snakemake.
    arguments : sequence of str
        See `dry_run_arguments`.

    Returns
    -------
    every, left : Counter
        All jobs, and those that are still to do; rules that only name the end are left out.

    Raises
    ------
    UserError
        Snakemake refuses the study; its words.
    """
    with ThreadPoolExecutor(2) as both:
        every = both.submit(_dry_run, python, [*arguments, "--forceall"])
        left = both.submit(_dry_run, python, arguments)
        return every.result(), left.result()


def _dry_run(python: str, arguments: Sequence[str]) -> Counter[str]:
    options = ["--dry-run", "--quiet", "rules", "--nolock", "--rerun-incomplete"]
    done = subprocess.run(
        [python, "-m", "snakemake", *options, "--workflow-profile", "none", *arguments],
        env={name: value for name, value in os.environ.items() if name != PROFILE_VARIABLE},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise UserError(f"Snakemake cannot plan the study:\n{done.stdout.strip()}")
    return read_job_table(done.stdout)


def read_job_table(text: str) -> Counter[str]:
    """Read Snakemake's table of jobs; there is none where nothing is to do."""
    table = JOB_TABLE.search(text)
    counts: Counter[str] = Counter()
    for line in table[1].splitlines() if table else ():
        rule, count = line.split()
        if rule not in TARGETS:
            counts[STEPS.sub("", rule)] += int(count)
    return counts
