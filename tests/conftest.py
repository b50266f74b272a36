"""Base models and tables that the tests share."""

import dataclasses
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tabpfn.architectures import ARCHITECTURES
from tabpfn.architectures.shared.bar_distribution import FullSupportBarDistribution
from tabpfn.constants import ModelVersion
from tabpfn.inference_config import InferenceConfig

SMALL_V3 = {
    "embed_dim": 16,
    "dist_embed_num_blocks": 1,
    "dist_embed_num_heads": 2,
    "dist_embed_num_inducing_points": 4,
    "feat_agg_num_blocks": 1,
    "feat_agg_num_heads": 2,
    "nlayers": 2,
    "icl_num_heads": 4,
}
SMALL_V2 = {"emsize": 32, "nlayers": 2, "nhead": 2}
SMALL = {
    "v2": ("tabpfn_v2", {**SMALL_V2, "features_per_group": 2}),
    "v2.5": ("tabpfn_v2_5", SMALL_V2),
    "v2.6": ("tabpfn_v2_6", SMALL_V2),
    "v3": ("tabpfn_v3", SMALL_V3),
    "v3.5": ("tabpfn_v3_5", SMALL_V3),
}
BUCKETS = 50


def write_random_checkpoint(folder: Path, version: str, kind: str) -> Path:
    """Write a small, randomly initialised checkpoint of an official architecture."""
    architecture, sizes = SMALL[version]
    multitask = version == "v3.5"
    classes = 10 if kind == "classification" or multitask else 0
    buckets = BUCKETS if kind == "regression" or multitask or version == "v3" else 0
    module = ARCHITECTURES[architecture]
    config, _ = module.parse_config({**sizes, "max_num_classes": classes, "num_buckets": buckets})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = module.get_architecture(config)
    state = dict(model.state_dict())
    if kind == "regression" and not hasattr(model, "regression_borders"):
        # like the real ones, finer in the middle
        borders = torch.erfinv(torch.linspace(-0.999, 0.999, BUCKETS + 1)) * 3
        criterion = FullSupportBarDistribution(borders, ignore_nan_targets=True)
        state |= {f"criterion.{k}": v for k, v in criterion.state_dict().items()}
    inference = InferenceConfig.get_default(
        "multiclass" if kind == "classification" else "regression",
        ModelVersion.V2 if version == "v2" else ModelVersion.V2_5,
    )
    path = folder / f"random-{version}-{kind}.ckpt"
    torch.save(
        {
            "state_dict": state,
            "config": dataclasses.asdict(config),
            "architecture_name": architecture,
            "inference_config": dataclasses.asdict(inference),
        },
        path,
    )
    return path


def pytest_configure():
    """Let Ctrl-C through to the programs under test: what a script starts with `&` ignores it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser):
    """Add what `make test-all` asks for."""
    parser.addoption("--all", action="store_true", help="twenty kills, all examples")


@pytest.fixture(scope="session")
def everything(request):
    """Tell whether this is `make test-all`, in which nothing is shortened."""
    return request.config.getoption("--all")


@pytest.fixture(scope="session")
def random_checkpoint(tmp_path_factory):
    """Give the path of a small random checkpoint of a version and task."""
    folder = tmp_path_factory.mktemp("checkpoints")
    made = {}

    def get(version, kind):
        if (version, kind) not in made:
            made[version, kind] = write_random_checkpoint(folder, version, kind)
        return made[version, kind]

    return get


@pytest.fixture(scope="session")
def mixed_table():
    """Give a small table of every kind of column with text labels and a numeric target."""
    rng = np.random.default_rng(0)
    n = 150
    X = pd.DataFrame(
        {
            "number": rng.normal(size=n),
            "gaps": np.where(rng.random(n) < 0.2, np.nan, rng.normal(size=n)),
            "flag": rng.random(n) < 0.5,
            "category": pd.Categorical(rng.choice(list("abc"), n)),
            "text": rng.choice(["red", "green", None], n),
            "day": pd.date_range("2024-01-01", periods=n, freq="D"),
        }
    )
    signal = X["number"] + (X["category"] == "a") + X["flag"]
    labels = np.where(signal > 1, "yes", "no")
    amount = np.exp(signal + 0.1 * rng.normal(size=n))
    return X, labels, amount.to_numpy()
