"""LoRA: what is trained beside the frozen network, and what is left of it afterwards."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from sklearn.datasets import load_iris
from torch import nn

from finetune_tabpfn import FinetunedTabPFNClassifier, FinetunedTabPFNRegressor, LoRA
from finetune_tabpfn._tabpfn import load
from finetune_tabpfn.finetuning._lora import adapted, load_adapter
from finetune_tabpfn.training._state import copy_weights

X, Y = load_iris(return_X_y=True)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))


def tuned(**parameters):
    common = {"base_model": "mini", "max_steps": 6, "eval_interval": 3, "n_estimators": 2}
    common |= {
        "random_state": 0,
        "device": "cpu",
        "training": {"min_gain_se": 0.0},
        "learning_rate": 3e-3,
    }
    return FinetunedTabPFNClassifier(**{**common, "tuning": "lora", **parameters}).fit(
        X[::2], Y[::2]
    )


def test_only_the_updates_are_trained_and_the_network_comes_back_as_it_was():
    model = network()
    before, modules = copy_weights(model), list(model)
    x = torch.randn(4, 3)
    with adapted(model, LoRA(rank=2, alpha=4)) as part:
        assert sum(weight.numel() for weight in part.parameters) == 2 * (3 + 5) + 2 * (5 + 2)
        optimizer = torch.optim.SGD(part.parameters, 0.1)
        for _ in range(3):
            optimizer.zero_grad()
            model(x).square().sum().backward()
            optimizer.step()
        trained = model(x).detach()
        weights = copy_weights(model)
    assert list(model) == modules
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(weight.requires_grad for weight in model.parameters())
    model.load_state_dict(part.plain(weights))
    torch.testing.assert_close(model(x), trained)


def test_half_an_adapter_is_half_way_from_the_base():
    model = network()
    with adapted(model, LoRA(rank=2, alpha=4)) as part:
        with torch.no_grad():
            for weight in part.parameters:
                weight.normal_()
        weights = copy_weights(model)
    base, full = model.state_dict(), part.plain(weights)
    half = part.adapter(weights).scaled(0.5).added_to(base)
    for name, tensor in half.items():
        torch.testing.assert_close(tensor, (base[name] + full[name]) / 2)


def test_an_adapter_alone_gives_the_fine_tuned_model_back(tmp_path):
    model = tuned()
    assert model.deployed_weights_ != "base"
    model.save_adapter(tmp_path / "adapter")
    files = {path.name: path.stat().st_size for path in (tmp_path / "adapter").iterdir()}
    assert set(files) == {"adapter_config.json", "adapter_model.safetensors"}
    assert sum(files.values()) < model.base_model_.path.stat().st_size / 3
    again = FinetunedTabPFNClassifier(
        base_model=tmp_path / "adapter", max_steps=0, n_estimators=2, random_state=0, device="cpu"
    ).fit(X[::2], Y[::2])
    np.testing.assert_allclose(again.predict_proba(X), model.predict_proba(X), atol=1e-5)
    assert again.base_model_.licence == "Apache-2.0"


@pytest.mark.slow
def test_peft_itself_reads_what_is_saved(tmp_path):
    model = tuned()
    model.save_adapter(tmp_path)
    network = load(model.base_model_.path, "classification", torch.device("cpu")).model
    merged = PeftModel.from_pretrained(network, tmp_path).merge_and_unload().state_dict()
    deployed = model.predictor_.models_[0].state_dict()
    assert set(merged) == set(deployed)
    for name, tensor in deployed.items():
        torch.testing.assert_close(merged[name], tensor)


def test_an_adapter_of_a_file_is_found_from_any_folder(tmp_path, monkeypatch, random_checkpoint):
    path = random_checkpoint("v2", "classification")
    monkeypatch.chdir(path.parent)
    model = tuned(base_model=path.name)
    monkeypatch.chdir(tmp_path)
    model.save_adapter("adapter")
    again = tuned(base_model="adapter", max_steps=0, tuning="full")
    np.testing.assert_allclose(again.predict_proba(X), model.predict_proba(X), atol=1e-5)


@pytest.mark.slow
def test_adapters_of_adapters_add_up(tmp_path):
    first = tuned()
    first.save_adapter(tmp_path / "first")
    second = tuned(base_model=tmp_path / "first")
    second.save_adapter(tmp_path / "second")
    again = tuned(base_model=tmp_path / "second", max_steps=0, tuning="full")
    np.testing.assert_allclose(again.predict_proba(X), second.predict_proba(X), atol=1e-5)


def test_an_adapter_is_sent_to_a_colleague_together_with_its_base(tmp_path, random_checkpoint):
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    mine.mkdir()
    path = shutil.copy(random_checkpoint("v2", "classification"), mine)
    first = tuned(base_model=path)
    first.save_adapter(mine / "first")
    second = tuned(base_model=mine / "first")
    second.save_adapter(mine / "second")
    saved = json.loads((mine / "second" / "adapter_config.json").read_text())
    assert saved["base_model_name_or_path"] == "../first"
    mine.rename(theirs)
    again = tuned(base_model=theirs / "second", max_steps=0, tuning="full")
    np.testing.assert_allclose(again.predict_proba(X), second.predict_proba(X), atol=1e-5)


@pytest.mark.parametrize("beside", ["", ".."])
def test_a_base_that_was_moved_is_looked_for_beside_its_adapter(
    beside, tmp_path, random_checkpoint
):
    (tmp_path / "far").mkdir()
    path = Path(shutil.copy(random_checkpoint("v2", "classification"), tmp_path / "far"))
    adapter = tmp_path / "here" / "adapter"
    model = tuned(base_model=path)
    model.save_adapter(adapter)
    tuned(base_model=adapter, max_steps=0, tuning="full")
    path.rename(tmp_path / path.name)
    message = f"adapter' is an adapter of '{path.name}', which is neither where it was .*far/.* nor"
    with pytest.raises(ValueError, match=message):
        tuned(base_model=adapter)
    (tmp_path / path.name).rename(adapter / beside / path.name)
    again = tuned(base_model=adapter, max_steps=0, tuning="full")
    np.testing.assert_allclose(again.predict_proba(X), model.predict_proba(X), atol=1e-5)


def test_an_adapter_of_another_task_is_said_to_be_one(tmp_path):
    tuned(max_steps=1).save_adapter(tmp_path / "a")
    with pytest.raises(ValueError, match="a' is an adapter for classification, not for regression"):
        FinetunedTabPFNRegressor(base_model=tmp_path / "a").fit(X, X[:, 0])


def test_an_adapter_of_another_base_model_is_refused(tmp_path, random_checkpoint):
    path = random_checkpoint("v2", "classification")
    tuned(base_model=path).save_adapter(tmp_path)
    data = bytearray(path.read_bytes())
    try:
        path.write_bytes(bytes([*data, 0]))
        with pytest.raises(ValueError, match="not the one it was trained on"):
            tuned(base_model=tmp_path)
    finally:
        path.write_bytes(data)


def test_a_damaged_adapter_is_refused_in_a_sentence(tmp_path):
    tuned(max_steps=1).save_adapter(tmp_path)
    weights = tmp_path / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(ValueError, match="holds no adapter that can be read"):
        tuned(base_model=tmp_path)
    with pytest.raises(ValueError, match="holds no adapter that can be read"):
        load_adapter(tmp_path / "nowhere")


def test_without_lora_there_is_no_adapter_to_save(tmp_path):
    with pytest.raises(ValueError, match="tuning='full' left no adapter"):
        tuned(tuning="full", max_steps=1).save_adapter(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("rate", [3e-3, pytest.param("auto", marks=pytest.mark.slow)])
def test_dropout_depends_on_the_seed_alone_and_leaves_torchs_state(rate, monkeypatch):
    monkeypatch.setattr("finetune_tabpfn.finetuning._fine_tune.PROBE_STEPS", 4)
    dropping = {"tuning": LoRA(dropout=0.3), "learning_rate": rate}
    state = torch.get_rng_state()
    first = tuned(**dropping)
    torch.testing.assert_close(torch.get_rng_state(), state)
    torch.rand(7)
    second = tuned(**dropping)
    assert second.learning_rate_ == first.learning_rate_
    first, second = first.predict_proba(X), second.predict_proba(X)
    np.testing.assert_array_equal(first, second)
    assert np.abs(tuned(learning_rate=rate).predict_proba(X) - first).max() > 0


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ImportError, match=r"pip install \"finetune-tabpfn\[lora\]\""):
        tuned()


@pytest.mark.slow
def test_pefts_own_configuration_serves_as_well():
    from peft import LoraConfig

    theirs = tuned(tuning=LoraConfig(r=2, lora_alpha=4))
    ours = tuned(tuning=LoRA(rank=2, alpha=4))
    np.testing.assert_array_equal(theirs.predict_proba(X), ours.predict_proba(X))
    with pytest.raises(ValueError, match=r"tuning=LoraConfig\(use_dora=True\) cannot be used; r, "):
        tuned(tuning=LoraConfig(use_dora=True))
