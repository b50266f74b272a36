"""Networks with random weights, to be pretrained."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from tabpfn.architectures import ARCHITECTURES
from tabpfn.architectures.shared.bar_distribution import FullSupportBarDistribution
from tabpfn.base import ModelSpecs as Specs
from tabpfn.constants import ModelVersion
from tabpfn.inference_config import InferenceConfig
from tabpfn.preprocessing.configs import PreprocessorConfig

from finetune_tabpfn._tasks import Kind
from finetune_tabpfn.utils._random_state import untouched_random_state


def new_network(
    kind: Kind,
    architecture: str,
    sizes: Mapping[str, Any],
    *,
    n_outputs: int,
    border: float,
    inference: Mapping[str, Any],
    seed: int,
) -> Specs:
    """Build a network with random weights.

    Parameters
    ----------
    kind : {"classification", "regression"}
    architecture : str
        One of tabpfn's names, for example "tabpfn_v3".
    sizes : mapping
        Fields of the architecture's configuration.
    n_outputs : int
        Classes, or buckets of the distribution over a standardised target.
    border : float
        Regression: the buckets reach this far, in standard deviations; narrow at 0 and wider
        outwards as a hyperbolic sine.
    inference : mapping
        Changes to tabpfn's default ``InferenceConfig``.
    seed : int
        Of the weights; torch's global random state is left alone.

    Returns
    -------
    Specs
        tabpfn's ``ModelSpecs``.
    """
    classes = kind == "classification"
    heads = {
        "max_num_classes": n_outputs if classes else 0,
        "num_buckets": -1 if classes else n_outputs,
    }
    if architecture not in ARCHITECTURES:
        known = ", ".join(map(str, ARCHITECTURES))
        raise ValueError(f"architecture={architecture!r} is none of tabpfn's: {known}.")
    module = ARCHITECTURES[architecture]
    try:
        config, unknown = module.parse_config({**sizes, **heads})
    except (TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"sizes={dict(sizes)!r} does not fit {architecture}: {reason}") from error
    if unknown:
        raise ValueError(f"sizes has {sorted(unknown)[0]!r}, which {architecture} does not know.")
    with untouched_random_state():
        torch.manual_seed(seed)
        model = module.get_architecture(config)
    distribution = None
    if not classes:
        distribution = FullSupportBarDistribution(_borders(n_outputs, border))
        if hasattr(model, "regression_borders"):
            model.regression_borders.copy_(distribution.borders)
    default = InferenceConfig.get_default(
        "multiclass" if classes else "regression", ModelVersion.V2_5
    )
    return Specs(
        model=model,
        architecture_config=config,
        inference_config=dataclasses.replace(
            default, **{**_PLAIN, **(_CLASSES if classes else {}), **inference}
        ),
        norm_criterion=distribution,
    )


def _borders(n_buckets: int, border: float) -> torch.Tensor:
    """Return borders of buckets, symmetric about 0."""
    places = torch.linspace(-4, 4, n_buckets + 1, dtype=torch.float64)
    return (border * torch.sinh(places) / torch.sinh(places[-1])).float()


_AS_THEY_ARE = PreprocessorConfig(name="none", categorical_name="numeric")
_ONE_HOT = PreprocessorConfig(name="none", categorical_name="onehot", max_onehot_cardinality=12)
# what the prior shows to the network, and so what prediction should: the columns as they are; a
# fourth of a classifier's members sees categories one-hot, which makes them differ more
_PLAIN: dict[str, Any] = {
    "PREPROCESS_TRANSFORMS": [_AS_THEY_ARE],
    "REGRESSION_Y_PREPROCESS_TRANSFORMS": (None,),
    "POLYNOMIAL_FEATURES": "no",
    "FINGERPRINT_FEATURE": False,
    "FEATURE_SHIFT_METHOD": "shuffle",
    "CLASS_SHIFT_METHOD": "shuffle",
    "SUBSAMPLE_SAMPLES": None,
    "SOFTMAX_TEMPERATURE": 1.0,
}
_CLASSES: dict[str, Any] = {
    "PREPROCESS_TRANSFORMS": [_AS_THEY_ARE, _AS_THEY_ARE, _AS_THEY_ARE, _ONE_HOT],
    "SOFTMAX_TEMPERATURE": 0.9,  # tabpfn's own default: a mean of members is too cautious
}
