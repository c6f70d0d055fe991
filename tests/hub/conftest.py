"""A hub with one small model, and waits that are counted instead of waited."""

from pathlib import Path

import pytest
from local_hub import LocalHub
from small_models import write_model

from hrsa.models import hub_errors


@pytest.fixture
def model(tmp_path) -> Path:
    """The folder behind the model owner/name."""
    return write_model(tmp_path / "served" / "models" / "owner" / "name")


@pytest.fixture
def hub(model, tmp_path, monkeypatch):
    """A hub that this process uses."""
    with LocalHub(tmp_path / "served") as hub:
        hub.use(monkeypatch, tmp_path / "home")
        yield hub


@pytest.fixture
def waits(monkeypatch) -> list[float]:
    """Seconds that a download would have waited."""
    waited: list[float] = []
    monkeypatch.setattr(hub_errors, "sleep", waited.append)
    return waited
