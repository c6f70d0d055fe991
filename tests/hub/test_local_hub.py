"""The hub for tests answers huggingface_hub as the hub does."""

import hashlib
import json
import os
import subprocess
import sys

import httpx2
import pandas as pd
import pytest
from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from small_models import write_model


def test_a_model_is_described_with_sizes_and_hashes(hub, model):
    information = HfApi().model_info("owner/name", revision="main", files_metadata=True)
    assert len(information.sha) == 40
    files = {file.rfilename: file for file in information.siblings}
    assert set(files) == {path.name for path in model.iterdir()}
    weights = (model / "model.safetensors").read_bytes()
    assert files["model.safetensors"].lfs.sha256 == hashlib.sha256(weights).hexdigest()
    assert files["model.safetensors"].size == len(weights)
    config = (model / "config.json").read_bytes()
    blob = hashlib.sha1(f"blob {len(config)}\0".encode() + config).hexdigest()
    assert (files["config.json"].blob_id, files["config.json"].lfs) == (blob, None)
    assert HfApi().model_info("owner/name").siblings[0].size is None


def test_the_commit_names_the_content(hub, model):
    before = HfApi().model_info("owner/name").sha
    assert HfApi().model_info("owner/name", revision=before).sha == before
    (model / "config.json").write_text("{}")
    after = HfApi().model_info("owner/name").sha
    assert after != before
    with pytest.raises(RevisionNotFoundError):
        HfApi().model_info("owner/name", revision=before)


def test_a_named_revision_is_a_folder_beside_the_model(hub, model):
    write_model(model.with_name("name@v1.0"), seed=1)
    assert HfApi().model_info("owner/name", revision="v1.0").sha != hub.repositories.at(
        "models", "owner/name", "main"
    )
    branches = {branch.name for branch in HfApi().list_repo_refs("owner/name").branches}
    assert branches == {"main", "v1.0"}
    with pytest.raises(RevisionNotFoundError):
        HfApi().model_info("owner/name", revision="v2.0")


def test_trees_and_paths_are_listed(hub, model):
    (model / "1_Pooling").mkdir()
    (model / "1_Pooling" / "config.json").write_text("{}")
    top = {entry.path for entry in HfApi().list_repo_tree("owner/name")}
    assert "1_Pooling" in top
    assert "1_Pooling/config.json" not in top
    everything = {entry.path for entry in HfApi().list_repo_tree("owner/name", recursive=True)}
    assert everything == top | {"1_Pooling/config.json"}
    inside = [entry.path for entry in HfApi().list_repo_tree("owner/name", "1_Pooling")]
    assert inside == ["1_Pooling/config.json"]
    found = HfApi().get_paths_info("owner/name", ["1_Pooling", "model.safetensors", "none"])
    assert [entry.path for entry in found] == ["1_Pooling", "model.safetensors"]
    assert found[1].lfs.size == found[1].size == (model / "model.safetensors").stat().st_size
    with pytest.raises(RemoteEntryNotFoundError):
        list(HfApi().list_repo_tree("owner/name", "2_Pooling"))


def test_the_client_downloads_a_snapshot_and_then_nothing(hub, model, tmp_path):
    folder = snapshot_download("owner/name", local_dir=tmp_path / "copy")
    assert {name: (tmp_path / "copy" / name).read_bytes() for name in os.listdir(model)} == {
        path.name: path.read_bytes() for path in model.iterdir()
    }
    assert sorted(hub.downloads()) == sorted(os.listdir(model))
    asked = len(hub.downloads())
    snapshot_download("owner/name", local_dir=folder)
    assert len(hub.downloads()) == asked


def test_a_connection_that_is_cut_ends_where_it_was_told(hub, model):
    hub.cut("*model.safetensors", 300_000)
    address = f"{hub.url}/owner/name/resolve/main/model.safetensors"
    arrived: list[bytes] = []
    with httpx2.stream("GET", address, follow_redirects=True) as answer:
        blocks = answer.iter_bytes()
        with pytest.raises(httpx2.RemoteProtocolError):
            arrived.extend(blocks)
    content = (model / "model.safetensors").read_bytes()
    assert b"".join(arrived) == content[:300_000]
    for asked, expected in (
        ("bytes=300000-", content[300_000:]),
        ("bytes=10-19", content[10:20]),
        (f"bytes={len(content)}-", b""),
    ):
        answer = httpx2.get(address, follow_redirects=True, headers={"Range": asked})
        assert (answer.status_code, answer.content) == (206 if expected else 416, expected)


def test_a_gated_model_is_described_to_all_and_sent_to_some(hub, tmp_path, monkeypatch):
    hub.gate("owner/name", "hf_granted")
    assert HfApi().model_info("owner/name").gated == "manual"
    for token, status in ((False, 401), ("hf_other", 403)):
        with pytest.raises(GatedRepoError) as caught:
            hf_hub_download("owner/name", "config.json", token=token)
        assert caught.value.response.status_code == status
    assert hf_hub_download("owner/name", "config.json", token="hf_granted")


def test_what_is_missing_is_told_as_the_hub_tells_it(hub):
    for token in (None, "hf_token"):
        with pytest.raises(RepositoryNotFoundError):
            HfApi(token=token).model_info("owner/none")
    with pytest.raises(RemoteEntryNotFoundError):
        hf_hub_download("owner/name", "none.json")


def test_a_client_sees_nothing_of_the_hub_that_who_runs_the_tests_uses(hub, tmp_path, monkeypatch):
    kept = {"HF_HOME", "HF_ENDPOINT", "HF_HUB_DISABLE_TELEMETRY", "HF_UPDATE_DOWNLOAD_COUNTS"}
    foreign = {"HF_TOKEN", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "TRANSFORMERS_OFFLINE"}
    for name in kept | foreign:
        monkeypatch.setenv(name, "elsewhere")
    given = hub.environment(tmp_path)
    assert "elsewhere" not in given.values()
    assert {name for name in given if name.startswith(("HF_", "HUGGING", "TRANSF"))} == kept
    hub.set_environment(monkeypatch, tmp_path)
    assert dict(os.environ) == given


LOAD = """
import json, sys
from datasets import load_dataset
for name, revision in zip(sys.argv[1::2], sys.argv[2::2]):
    for split in ("train", "test"):
        print(json.dumps(load_dataset(name, split=split, revision=revision).to_list()))
"""


def test_datasets_loads_parquet_and_json_lines(hub, tmp_path):
    owner = tmp_path / "served" / "datasets" / "owner"
    frames = {
        split: pd.DataFrame({"text": [f"{split} é {i}" for i in range(20)], "label": range(20)})
        for split in ("train", "test")
    }
    for ending in ("parquet", "jsonl"):
        (owner / ending / "data").mkdir(parents=True)
        for split, frame in frames.items():
            file = owner / ending / "data" / f"{split}-00000-of-00001.{ending}"
            if ending == "parquet":
                frame.to_parquet(file)
            else:
                frame.to_json(file, orient="records", lines=True)
    # of the branch main the library would ask another host for parquet files too
    commits = [
        argument
        for name in ("owner/parquet", "owner/jsonl")
        for argument in (name, hub.repositories.at("datasets", name, "main").commit)
    ]
    done = subprocess.run(
        [sys.executable, "-c", LOAD, *commits],
        env=hub.environment(tmp_path / "home"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    expected = [frame.to_dict("records") for frame in frames.values()]
    assert [json.loads(line) for line in done.stdout.splitlines()] == expected * 2
    fetched = [name for name in hub.downloads() if name.endswith(("parquet", "jsonl"))]
    assert len(fetched) == len(set(fetched)) == 4
