#!/usr/bin/env bash
# Run by Snakemake, in the repository's root, once the conda environment is made.
set -euo pipefail
pip install -r envs/requirements.txt -r envs/torch.txt
pip install --no-deps -e .
