"""What a name or path of a base model stands for."""

import os
import shutil

import pytest
import torch
from tabpfn.settings import settings

from finetune_tabpfn._tabpfn import _checkpoints, cached_path
from finetune_tabpfn.models import _base_models
from finetune_tabpfn.models._base_models import mini, resolve


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Give an empty cache of TabPFN, on a machine without network and without token."""
    monkeypatch.setattr(settings.tabpfn, "model_cache_dir", tmp_path)
    monkeypatch.setattr(_base_models, "_failed_downloads", {})
    monkeypatch.setattr("tabpfn.browser_auth._TOKEN_FILE", tmp_path / "no-token")
    monkeypatch.setattr("tabpfn.browser_auth._CLIENT_TOKEN_FILE", tmp_path / "no-token")
    monkeypatch.delenv("TABPFN_TOKEN", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path


def put(version, kind):
    path = cached_path(version, kind)
    shutil.copy(mini(kind).path, path)
    return path


@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_mini_ships_with_the_package(kind):
    model = mini(kind)
    assert model.path.is_file()
    assert model.licence == "Apache-2.0"
    assert len(model.sha256) == 64
    assert model == resolve("mini", kind)


def test_auto_takes_the_version_that_plain_tabpfn_would_use_if_it_is_cached(cache):
    put("v2", "classification")
    default = put("v3.5", "classification")
    model = resolve("auto", "classification")
    assert (model.name, model.path) == ("v3.5", default)
    assert "non-commercial" in model.licence


def test_auto_follows_the_users_choice_of_version(cache, monkeypatch):
    monkeypatch.setattr(settings.tabpfn, "model_version", type(settings.tabpfn.model_version)("v3"))
    put("v3", "regression")
    put("v3.5", "regression")
    assert resolve("auto", "regression").name == "v3"


def test_auto_takes_a_version_that_is_newer_than_this_package(cache, monkeypatch):
    monkeypatch.delitem(_base_models.LICENCES, "v3.5")
    path = put("v3.5", "classification")
    model = resolve("auto", "classification")
    assert (model.name, model.path) == ("v3.5", path)
    assert "newer than this package" in model.licence


def test_auto_takes_v2_from_the_cache_next(cache):
    put("v2", "classification")
    model = resolve("auto", "classification")
    assert model.name == "v2"
    assert "attribution" in model.licence


def test_auto_falls_back_to_mini_and_says_how_to_get_more(cache):
    with pytest.warns(UserWarning, match=r"falls back to the shipped mini model.*network.*path"):
        assert resolve("auto", "classification").name == "mini"


def test_auto_asks_the_network_once_per_process(cache, monkeypatch):
    asked = []

    def refuse(*arguments):
        asked.append(arguments)
        return "refused"

    monkeypatch.setattr(_base_models._tabpfn, "download", refuse)
    for _ in range(3):
        with pytest.warns(UserWarning, match="refused"):
            resolve("auto", "classification")
    assert len(asked) == 1


def test_a_network_without_an_answer_leaves_half_of_the_time_and_is_asked_anew_for_more(
    cache, monkeypatch
):
    seconds = []

    def wait_in_vain(version, kind, timeout):
        seconds.append(timeout)
        return "no answer"

    monkeypatch.setattr(_base_models._tabpfn, "download", wait_in_vain)
    for limit in (10.0, 11.0, 60.0, None, None):
        with pytest.warns(UserWarning, match="no answer"):
            resolve("auto", "classification", download_timeout=limit)
    assert seconds == [5.0, 30.0, None]


def test_a_gated_version_without_token_is_one_sentence(cache):
    with pytest.raises(ValueError, match=r"base_model='v3' is not in TabPFN's cache.*TABPFN_TOKEN"):
        resolve("v3", "classification")


def test_a_download_gives_up_and_leaves_no_part_behind(cache, monkeypatch):
    """The process that downloads can be slow for any reason; here it only sleeps."""
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(_checkpoints, "_DOWNLOAD", "import time; time.sleep(60)")
    with pytest.raises(ValueError, match=r"base_model='v2'.*no answer within 0\.5 s"):
        resolve("v2", "classification", download_timeout=0.5)
    assert os.listdir(cache) == []


def test_a_download_that_fails_says_why(cache, monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(_checkpoints, "_DOWNLOAD", "import sys; sys.exit('no route to host')")
    with pytest.raises(ValueError, match="cannot be downloaded: no route to host"):
        resolve("v2", "regression")


def test_a_download_arrives_whole_and_never_opens_a_browser(cache, monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE")
    code = (
        "import os, sys; assert os.environ['TABPFN_NO_BROWSER'] == '1'; "
        "assert not sys.stdin.isatty(); open(sys.argv[1], 'w').write('weights')"
    )
    monkeypatch.setattr(_checkpoints, "_DOWNLOAD", code)
    model = resolve("v2", "classification")
    assert model.path == cached_path("v2", "classification")
    assert model.path.read_text() == "weights"
    assert "TABPFN_NO_BROWSER" not in os.environ


def test_a_path(tmp_path):
    path = tmp_path / "my-v3.safetensors"
    shutil.copy(mini("classification").path, path)
    model = resolve(path, "classification")
    assert model.name == str(path)
    assert model.sha256 == mini("classification").sha256
    assert model.licence == "Apache-2.0"  # the file says so


def test_a_path_that_is_not_there():
    with pytest.raises(ValueError, match=r"base_model='no/such.ckpt' is neither a file nor one of"):
        resolve("no/such.ckpt", "classification")


def test_fits_in_a_loop_read_the_file_once(tmp_path):
    path = tmp_path / "base-v3.safetensors"
    shutil.copy(mini("classification").path, path)
    first = resolve(path, "classification").load("classification", torch.device("cpu")).model
    written = path.stat()
    path.unlink()
    path.write_bytes(bytes(written.st_size))  # nothing can be read from it any more
    os.utime(path, ns=(written.st_atime_ns, written.st_mtime_ns))
    second = resolve(path, "classification").load("classification", torch.device("cpu")).model
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)
        assert one.data_ptr() != other.data_ptr()  # what one fit trains, the next does not see
