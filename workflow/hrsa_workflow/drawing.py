"""Saving a figure as a job does: PNG and PDF, and at smoke scale with the line that says so."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from hrsa.figures.style import SMOKE_WATERMARK, save


def save_figure(figure: Figure, snakemake: Any, prefix: str = "") -> None:
    """Write a figure to the outputs ``<prefix>png`` and ``<prefix>pdf``."""
    save(
        figure,
        Path(snakemake.output[f"{prefix}png"]),
        Path(snakemake.output[f"{prefix}pdf"]),
        watermark=SMOKE_WATERMARK if snakemake.params.smoke else None,
    )
