"""Downloads against a hub with faults: each ends right, or with a sentence and goes on later."""

import errno
import json
import shutil
import subprocess
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from signal import SIGKILL
from time import sleep
from types import SimpleNamespace

import httpx2
import pytest
from huggingface_hub import HfApi, constants, snapshot_download
from small_models import write_model

from hrsa.errors import UserError
from hrsa.models import hub as downloads
from hrsa.models.hub_errors import WAITS, asked_wait
from hrsa.models.loading import weights_sha256
from hrsa.models.retrieve import retrieve

WANTED = ["config.json", "tokenizer.json", "model.safetensors"]  # by their size
FOREVER = float("inf")


def assert_same(folder, model):
    """All that is wanted is there as it is served, and nothing else but what is kept about it."""
    names = {path.name for path in folder.iterdir()}
    assert names == {*WANTED, "retrieved.json", ".hub.json"}
    for name in WANTED:
        assert (folder / name).read_bytes() == (model / name).read_bytes()
    assert not folder.with_name(folder.name + ".partial").exists()


def test_a_model_arrives_whole_and_nothing_else_does(hub, model, tmp_path):
    record = retrieve("owner/name", "main", tmp_path / "copy")
    assert_same(tmp_path / "copy", model)
    assert hub.downloads() == WANTED
    assert record["commit"] == hub.repositories.at("models", "owner/name", "main").commit
    assert record["sha256"] == weights_sha256(model)
    assert record["files"] == {name: (model / name).stat().st_size for name in sorted(WANTED)}


def test_a_second_call_asks_nothing(hub, tmp_path):
    record = retrieve("owner/name", "main", tmp_path / "copy")
    asked = len(hub.requests)
    assert retrieve("owner/name", "main", tmp_path / "copy") == record
    assert len(hub.requests) == asked


def test_two_that_want_one_model_fetch_it_once(hub, model, tmp_path):
    with ThreadPoolExecutor(2) as pool:
        started = [pool.submit(retrieve, "owner/name", "main", tmp_path / "copy") for _ in range(2)]
        first, second = (retrieved.result() for retrieved in started)
    assert first == second
    assert hub.downloads() == WANTED
    assert_same(tmp_path / "copy", model)


def test_a_folder_that_lost_a_file_is_completed(hub, model, tmp_path):
    retrieve("owner/name", "main", tmp_path / "copy")
    (tmp_path / "copy" / "tokenizer.json").unlink()
    before = len(hub.downloads())
    retrieve("owner/name", "main", tmp_path / "copy")
    assert_same(tmp_path / "copy", model)
    assert hub.downloads()[before:] == ["tokenizer.json"]


def test_files_without_their_record_are_checked_and_not_fetched_again(hub, model, tmp_path):
    """As Snakemake leaves them: it removes a job's output before it runs the job again."""
    record = retrieve("owner/name", "main", tmp_path / "copy")
    (tmp_path / "copy" / "retrieved.json").unlink()
    weights = tmp_path / "copy" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    before = len(hub.downloads())
    assert retrieve("owner/name", "main", tmp_path / "copy") == record
    assert_same(tmp_path / "copy", model)
    assert hub.downloads()[before:] == ["model.safetensors"]


def test_a_revision_is_fetched_by_its_name_and_by_its_commit(hub, model, tmp_path):
    other = write_model(model.with_name("name@v1.0"), seed=1)
    named = retrieve("owner/name", "v1.0", tmp_path / "named")
    assert_same(tmp_path / "named", other)
    assert retrieve("owner/name", named["commit"], tmp_path / "commit")["commit"] == named["commit"]
    assert_same(tmp_path / "commit", other)


def test_a_branch_that_moved_on_costs_what_changed(hub, model, tmp_path):
    hub.fail("*model.safetensors", 404)
    with pytest.raises(UserError):
        retrieve("owner/name", "main", tmp_path / "copy")
    (model / "tokenizer.json").write_text("{}")
    retrieve("owner/name", "main", tmp_path / "copy")
    assert_same(tmp_path / "copy", model)
    assert hub.downloads().count("config.json") == 1
    assert hub.downloads().count("tokenizer.json") == 2


# -- faults that pass ------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["/api/models/*", "*/resolve/*config.json", "*model.safetensors"])
def test_too_many_requests_are_waited_for_as_long_as_the_hub_asks(
    hub, model, tmp_path, waits, where
):
    hub.fail(where, 429, retry_after=7, times=2)
    retrieve("owner/name", "main", tmp_path / "copy")
    assert waits == [7, 7]
    assert_same(tmp_path / "copy", model)


def test_a_wait_that_is_too_long_is_told_instead(hub, tmp_path, waits):
    hub.fail("*config.json", 429, retry_after=3600)
    with pytest.raises(UserError, match=r"HTTP status 429. It asks to wait 3600 s: run again then"):
        retrieve("owner/name", "main", tmp_path / "copy")
    assert waits == []


def test_a_server_that_is_out_of_order_is_asked_again_less_and_less_often(
    hub, model, tmp_path, waits
):
    hub.fail("/api/models/*", 500, times=2)
    hub.fail("*model.safetensors", 503)
    retrieve("owner/name", "main", tmp_path / "copy")
    assert waits == [1, 2, 1]
    assert_same(tmp_path / "copy", model)


def test_a_server_that_stays_out_of_order_is_a_sentence(hub, tmp_path, waits):
    hub.fail("*model.safetensors", 503, times=FOREVER)
    with pytest.raises(UserError, match=r"HTTP status 503. Run again later; what has arrived is"):
        retrieve("owner/name", "main", tmp_path / "copy")
    assert waits == list(WAITS)
    assert not (tmp_path / "copy").exists()


def ranges(hub):
    return [(r.range, r.sent) for r in hub.requests if r.of_store and r.status in (200, 206)]


def test_a_connection_that_is_cut_goes_on_at_its_last_byte(hub, model, tmp_path, waits):
    for at in (100_000, 300_000, 300_001):
        hub.cut("*model.safetensors", at)
    retrieve("owner/name", "main", tmp_path / "copy")
    size = (model / "model.safetensors").stat().st_size
    assert ranges(hub) == [
        (None, 100_000),
        ("bytes=100000-", 200_000),
        ("bytes=300000-", 1),
        ("bytes=300001-", size - 300_001),
    ]
    assert waits == [1, 1, 1]  # each brought something, so none counts as one more in a row
    assert_same(tmp_path / "copy", model)


def test_a_download_that_was_given_up_goes_on_later(hub, model, tmp_path, waits):
    hub.cut("*model.safetensors", 300_000, times=FOREVER)
    with pytest.raises(UserError, match=r"does not stay so.*what has arrived is kept"):
        retrieve("owner/name", "main", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    part = tmp_path / "copy.partial" / "model.safetensors.incomplete"
    assert part.stat().st_size == 300_000
    hub.heal()
    before = len(hub.requests)
    retrieve("owner/name", "main", tmp_path / "copy")
    size = (model / "model.safetensors").stat().st_size
    assert hub.downloads().count("config.json") == 1
    assert [r.range for r in hub.requests[before:] if r.of_store] == ["bytes=300000-"]
    assert sum(sent for _, sent in ranges(hub)) == size
    assert_same(tmp_path / "copy", model)


def test_a_connection_that_falls_silent_is_left_and_gone_on_with(
    hub, model, tmp_path, waits, monkeypatch
):
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.3)
    hub.cut("*model.safetensors", 300_000, hold=True)
    retrieve("owner/name", "main", tmp_path / "copy")
    assert [asked for asked, _ in ranges(hub)] == [None, "bytes=300000-"]
    assert_same(tmp_path / "copy", model)


def test_a_download_that_is_killed_goes_on_in_the_next_process(hub, model, tmp_path):
    hub.cut("*model.safetensors", 300_000, hold=True)
    code = "import sys; from hrsa.models.retrieve import retrieve; retrieve(*sys.argv[1:])"
    command = [sys.executable, "-c", code, "owner/name", "main", str(tmp_path / "copy")]
    environment = hub.environment(tmp_path / "home")
    part = tmp_path / "copy.partial" / "model.safetensors.incomplete"
    with subprocess.Popen(command, env=environment) as killed:
        while not (part.exists() and part.stat().st_size > 200_000) and killed.poll() is None:
            sleep(0.01)
        killed.kill()
    assert killed.returncode == -SIGKILL
    assert not (tmp_path / "copy").exists()
    arrived = part.stat().st_size
    subprocess.run(command, env=environment, check=True)
    assert [asked for asked, _ in ranges(hub)] == [None, f"bytes={arrived}-"]
    assert_same(tmp_path / "copy", model)


def test_the_beginning_of_another_file_is_not_gone_on_with(hub, model, tmp_path):
    part = tmp_path / "copy.partial" / "model.safetensors.incomplete"
    part.parent.mkdir()
    part.write_bytes(b"x" * 300_000)
    retrieve("owner/name", "main", tmp_path / "copy")
    assert [asked for asked, _ in ranges(hub)] == ["bytes=300000-", None]
    assert_same(tmp_path / "copy", model)


# -- content that is not what the hub states -------------------------------------------------------


@pytest.fixture
def other_weights(model, tmp_path):
    """Weights of another model, of the same size."""
    return write_model(tmp_path / "other", seed=1) / "model.safetensors"


def test_bytes_that_were_damaged_once_are_fetched_again(hub, model, tmp_path, other_weights):
    hub.replace("/models/*model.safetensors", other_weights, times=1)
    retrieve("owner/name", "main", tmp_path / "copy")
    assert hub.downloads() == [*WANTED, "model.safetensors"]
    assert_same(tmp_path / "copy", model)


def test_bytes_that_stay_damaged_are_no_model(hub, model, tmp_path, other_weights):
    hub.replace("/models/*model.safetensors", other_weights)
    with pytest.raises(UserError, match=r"model.safetensors of owner/name .*another hash arrived"):
        retrieve("owner/name", "main", tmp_path / "copy")
    assert hub.downloads() == [*WANTED, "model.safetensors"]
    assert not (tmp_path / "copy").exists()
    assert not list((tmp_path / "copy.partial").glob("model.safetensors*"))
    hub.heal()
    retrieve("owner/name", "main", tmp_path / "copy")
    assert_same(tmp_path / "copy", model)
    assert hub.downloads().count("config.json") == 1


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_hash_that_changed_under_one_revision_is_noticed(hub, tmp_path, other_weights, name):
    hub.replace(f"*/resolve/*{name}", other_weights)
    with pytest.raises(UserError, match=r"serves a file with the hash .*changed under one revis"):
        retrieve("owner/name", "main", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    assert not list((tmp_path / "copy.partial").glob(f"{name}*"))


@pytest.mark.parametrize(
    ("size", "told"), [(2_000_000, "more than 1048"), (1000, "there is nothing after byte 1000")]
)
def test_a_size_that_changed_under_one_revision_is_noticed(hub, tmp_path, model, waits, size, told):
    (tmp_path / "other.safetensors").write_bytes(b"x" * size)
    hub.replace("/models/*model.safetensors", tmp_path / "other.safetensors")
    with pytest.raises(UserError, match=told):
        retrieve("owner/name", "main", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


# -- permission ------------------------------------------------------------------------------------

TOKEN = "hf_test0123456789abcdef"


def test_a_gated_model_is_a_sentence_until_it_is_granted(hub, model, tmp_path, monkeypatch):
    hub.gate("owner/name", TOKEN)
    for token in ("", "hf_of_someone_else"):
        monkeypatch.setenv("HF_TOKEN", token)
        with pytest.raises(UserError, match=r"grants access on request.*owner/name.*HF_TOKEN"):
            retrieve("owner/name", "main", tmp_path / "copy")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    retrieve("owner/name", "main", tmp_path / "copy")
    assert_same(tmp_path / "copy", model)


def test_the_token_of_the_environment_or_of_hf_home_is_sent_to_the_hub_alone(
    hub, tmp_path, monkeypatch
):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    retrieve("owner/name", "main", tmp_path / "copy")
    assert {request.token for request in hub.requests if not request.of_store} == {TOKEN}
    assert {request.token for request in hub.requests if request.of_store} == {None}
    monkeypatch.setenv("HF_TOKEN", "")
    (tmp_path / "home").mkdir(exist_ok=True)
    (tmp_path / "home" / "token").write_text("hf_of_the_file\n")
    before = len(hub.requests)
    retrieve("owner/name", "main", tmp_path / "again")
    asked = [request for request in hub.requests[before:] if not request.of_store]
    assert {request.token for request in asked} == {"hf_of_the_file"}


def test_no_file_and_no_error_holds_the_token(hub, tmp_path, monkeypatch, waits, caplog):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    caplog.set_level("DEBUG")
    said = []
    for status in (400, 401, 403, 404, 418, 429, 500):
        hub.fail("*config.json", status, times=FOREVER, body=json.dumps({"error": TOKEN}))
        with pytest.raises(UserError) as caught:
            retrieve("owner/name", "main", tmp_path / "copy")
        said += traceback.format_exception(caught.value)
        hub.heal()
    retrieve("owner/name", "main", tmp_path / "copy")
    kept = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(TOKEN.encode() in content for content in kept)
    assert TOKEN not in "".join(said) + caplog.text


def test_a_token_that_no_header_can_carry_is_not_quoted(hub, tmp_path, monkeypatch):
    for token in ("hf_\x01secret", "hf_sécret"):
        monkeypatch.setenv("HF_TOKEN", token)
        with pytest.raises(UserError, match="holds characters that no token has") as caught:
            retrieve("owner/name", "main", tmp_path / "copy")
        assert "cret" not in "".join(traceback.format_exception(caught.value))


def test_a_token_that_is_refused_is_a_sentence(hub, tmp_path, monkeypatch):
    hub.known_tokens = {"hf_known"}
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with pytest.raises(UserError, match=r"refuses the token. Correct .*HF_TOKEN"):
        retrieve("owner/name", "main", tmp_path / "copy")


def test_a_mirror_that_states_no_sizes_is_a_sentence(hub, tmp_path, monkeypatch):
    described = HfApi.model_info
    monkeypatch.setattr(
        HfApi,
        "model_info",
        lambda *arguments, **named: described(*arguments, **named | {"files_metadata": False}),
    )
    with pytest.raises(UserError, match="does not state the sizes of its files"):
        retrieve("owner/name", "main", tmp_path / "copy")


def test_what_is_missing_is_a_sentence(hub, model, tmp_path):
    with pytest.raises(UserError, match="there is no such repository at http"):
        retrieve("owner/none", "main", tmp_path / "copy")
    with pytest.raises(UserError, match="the repository has no such revision"):
        retrieve("owner/name", "v9", tmp_path / "copy")


def test_an_address_with_a_password_is_told_without_it(hub, tmp_path, monkeypatch):
    address = hub.url.replace("://", "://user:secret@")
    monkeypatch.setattr(constants, "ENDPOINT", address)
    with pytest.raises(UserError, match=f"no such repository at {hub.url}") as caught:
        retrieve("owner/none", "main", tmp_path / "copy")
    assert "secret" not in str(caught.value)


# -- disk ------------------------------------------------------------------------------------------


def test_too_little_disk_is_told_in_numbers_before_anything_is_fetched(
    hub, model, tmp_path, monkeypatch
):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=400_000))
    with pytest.raises(UserError, match=r"needs 1.0 MB .*1.0 MB in 3 files.* and 400.0 kB are fre"):
        retrieve("owner/name", "main", tmp_path / "copy")
    assert hub.downloads() == []
    # what is here already is not needed twice
    (tmp_path / "copy.partial").mkdir()
    content = (model / "model.safetensors").read_bytes()
    (tmp_path / "copy.partial" / "model.safetensors.incomplete").write_bytes(content[:700_000])
    retrieve("owner/name", "main", tmp_path / "copy")
    assert_same(tmp_path / "copy", model)


def test_a_disk_that_runs_full_keeps_what_arrived(hub, model, tmp_path, monkeypatch):
    def fill(url, file, part, bar):
        part.write_bytes((model / part.name.removesuffix(".incomplete")).read_bytes()[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(downloads, "_stream", fill)
        with pytest.raises(UserError, match=r"the disk is full. What has arrived is kept"):
            retrieve("owner/name", "main", tmp_path / "copy")
    retrieve("owner/name", "main", tmp_path / "copy")
    assert hub.requests[1].range is None
    assert [r.range for r in hub.requests if r.path.endswith("config.json")] == ["bytes=10-"]
    assert_same(tmp_path / "copy", model)


# -- without a network -----------------------------------------------------------------------------


@pytest.fixture
def offline(monkeypatch):
    return lambda: monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def test_offline_a_folder_that_is_here_is_taken_with_or_without_its_record(
    hub, model, tmp_path, offline
):
    record = retrieve("owner/name", "main", tmp_path / "copy")
    asked = len(hub.requests)
    offline()
    assert retrieve("owner/name", "main", tmp_path / "copy") == record
    (tmp_path / "copy" / "retrieved.json").unlink()
    assert retrieve("owner/name", "main", tmp_path / "copy") == record
    assert_same(tmp_path / "copy", model)
    assert len(hub.requests) == asked


def test_offline_the_cache_of_hf_home_is_taken(hub, model, tmp_path, offline):
    snapshot_download("owner/name", ignore_patterns=["*.bin"])
    asked = len(hub.requests)
    offline()
    record = retrieve("owner/name", "main", tmp_path / "copy")
    assert record["commit"] == hub.repositories.at("models", "owner/name", "main").commit
    assert_same(tmp_path / "copy", model)
    assert len(hub.requests) == asked


def test_files_in_the_cache_of_hf_home_are_not_fetched_again(hub, model, tmp_path):
    snapshot_download("owner/name", allow_patterns=["*.safetensors"])
    retrieve("owner/name", "main", tmp_path / "copy")
    assert hub.downloads() == ["model.safetensors", "config.json", "tokenizer.json"]
    assert_same(tmp_path / "copy", model)


def test_a_damaged_cache_is_not_taken(hub, model, tmp_path, offline):
    snapshot = snapshot_download("owner/name", ignore_patterns=["*.bin"])
    shutil.copytree(tmp_path / "home", tmp_path / "damaged", symlinks=True)
    weights = next((tmp_path / "home").rglob("snapshots/*/model.safetensors")).resolve()
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    retrieve("owner/name", "main", tmp_path / "copy")
    assert_same(tmp_path / "copy", model)
    offline()
    with pytest.raises(UserError, match=r"HF_HUB_OFFLINE is set.*it is not here in full"):
        retrieve("owner/name", snapshot.rpartition("/")[2], tmp_path / "other")


def test_offline_without_the_files_is_a_sentence(hub, tmp_path, offline):
    offline()
    with pytest.raises(UserError, match=r"HF_HUB_OFFLINE is set.*`path:` instead of `hub:`"):
        retrieve("owner/name", "main", tmp_path / "copy")
    assert hub.requests == []


# -- how long to wait ------------------------------------------------------------------------------


def test_the_wait_that_is_asked_for_is_read_from_each_header_that_tells_it():
    def wait(status=429, **headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return asked_wait(httpx2.Response(status, headers=named))

    assert wait(Retry_After="12") == 12
    assert wait(Retry_After="soon") is None
    assert wait() is None
    assert wait(RateLimit='"api";r=0;t=55', Retry_After="12") == 55
    assert wait(RateLimit='"api";r=5;t=55', Retry_After="12") == 12
    assert wait(503, Retry_After="3") == 3
    later = datetime.now(UTC) + timedelta(seconds=90)
    assert 80 < wait(Retry_After=format_datetime(later, usegmt=True)) <= 90
    assert wait(Retry_After=format_datetime(later - timedelta(days=1), usegmt=True)) == 0
