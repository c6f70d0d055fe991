"""A data set in shards, through Snakemake: each part a job of its own, joined to one file."""

import os
import shutil

import pytest
import yaml
from test_pair import save_model, texts

from hrsa.activations.locking import open_locked
from hrsa.activations.store import open_activations
from hrsa_workflow.extraction import extract_instance

pytestmark = pytest.mark.slow

ACTIVATIONS = "results/pair/activations/one"
JOINED = f"{ACTIVATIONS}/texts.h5"
# What reads the joined file, and needs no second model.
NEIGHBOURS = "results/pair/similarity/neighbours/one/texts.h5"
SETTINGS = {
    "layers": "all",
    "dtype": "float32",
    "max_length": 64,
    "truncation": "end",
    "max_tokens": None,
    "device": "cpu",
    # A batch for each text: texts that share one move each other's last digits, and parts make
    # other batches than the whole.
    "token_budget": 1,
}


def configure(checkout, **extraction):
    """Write `studies/pair.yaml` with two folders and a file in two shards in place of the hub."""
    study = yaml.safe_load((checkout.path / "studies" / "pair.yaml").read_text())
    study["models"] = {name: {"path": f"mine/{name}"} for name in study["models"]}
    study["datasets"] = {"texts": {"path": "mine/texts.txt", "shards": 2}}
    study["extraction"] = SETTINGS | extraction
    small = checkout.path / "tests" / "workflow" / "small.yaml"
    small.write_text(yaml.safe_dump(study))


@pytest.fixture
def sharded(fresh):
    configure(fresh)
    for name in ("one", "other"):
        save_model(fresh.path / "mine" / name, seed=0)
    (fresh.path / "mine" / "texts.txt").write_text("\n".join(texts()) + "\n")
    return fresh


def extract_whole(checkout, path, code):
    extract_instance(
        record=str(checkout.path / "results/pair/models/one/record.json"),
        datasets=[str(checkout.path / "results/pair/datasets/texts.parquet")],
        steps=[],
        outputs=[str(path)],
        settings=SETTINGS,
        seed=42,
        code=code,
    )


def test_a_data_set_in_shards_is_extracted_joined_kept_and_copied(sharded, tmp_path):
    parts = [sharded.path / ACTIVATIONS / "texts.shards" / f"{shard}.h5" for shard in range(2)]
    joined = sharded.path / JOINED

    # a shard that fails costs only itself
    parts[1].parent.mkdir(parents=True)
    held = open_locked(parts[1].with_name("1.h5.journal"))
    failed = sharded.snakemake(NEIGHBOURS, check=False)
    os.close(held)
    assert failed.returncode == 1
    assert "texts.shards/1.h5: another process is writing this file" in failed.stderr
    assert [part.exists() for part in parts] == [True, False]
    first = parts[0].stat().st_mtime_ns
    sharded.snakemake(NEIGHBOURS)
    assert parts[0].stat().st_mtime_ns == first

    # joined, the parts are the whole, and what comes after reads them
    with open_activations(joined, verify=True) as found:
        code = found.attrs["code"]
        assert found.sources == parts
        extract_whole(sharded, tmp_path / "texts.h5", code)
        with open_activations(tmp_path / "texts.h5") as whole:
            assert found.attrs == whole.attrs
            assert found.samples.ids.tolist() == whole.samples.ids.tolist()
            assert found.layers == whole.layers == [0, 1, 2]
            for layer in whole.layers:
                assert found.layer(layer)[:].tobytes() == whole.layer(layer)[:].tobytes()
    assert (sharded.path / NEIGHBOURS).exists()
    done = sharded.snakemake(NEIGHBOURS)
    assert "Nothing to be done" in done.stdout + done.stderr

    # what changes neither rows nor states keeps the parts; parts of no use go
    stray = parts[0].with_name("2.h5")
    shutil.copyfile(parts[0], stray)
    configure(sharded, token_budget=2, joined="copy")
    before = [part.stat().st_ino for part in parts]
    sharded.snakemake(JOINED)
    assert [part.stat().st_ino for part in parts] == before
    for shard in range(2):
        log = sharded.path / f"results/pair/logs/extract/one/texts-{shard}.log"
        assert f"kept {ACTIVATIONS}/texts.shards/{shard}.h5: " in log.read_text()
    assert not stray.exists()

    # a copy stands alone, and is the file of the whole
    moved = tmp_path / "elsewhere.h5"
    shutil.copyfile(joined, moved)
    with open_activations(moved, verify=True) as copy:
        assert copy.sources == []
        assert copy.n_samples == len(texts())
    assert moved.read_bytes() == (tmp_path / "texts.h5").read_bytes()
