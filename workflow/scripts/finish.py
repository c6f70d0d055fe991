"""The last check: fail with the list of what could not be computed, if there is anything."""

import json
from pathlib import Path

from hrsa_workflow.job import job

with job(snakemake):
    from hrsa.errors import UserError
    from hrsa_workflow.status import read_failures

    failures = [one for one in read_failures(snakemake.input.statuses) if one.applies]
    if failures:
        listed = "\n".join(f"  - {failure}" for failure in failures)
        what = "one result" if len(failures) == 1 else f"{len(failures)} results"
        raise UserError(
            f"Study {snakemake.params.study}: everything else is done, but {what} "
            f"could not be computed:\n{listed}\nThe report names them too. Mend the cause, or run "
            "again with `--config retry_failed=true`, which queues them again."
        )
    Path(snakemake.output.finished).write_text(json.dumps({"failures": []}) + "\n")
