"""A network in memory: loading it, and the plain TabPFN estimator built around it."""

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import joblib
import torch
from sklearn import config_context
from tabpfn import TabPFNClassifier, TabPFNRegressor, load_fitted_tabpfn_model
from tabpfn.base import ModelSpecs as Specs
from tabpfn.base import initialize_tabpfn_model
from tabpfn.errors import TabPFNValidationError

from finetune_tabpfn._tabpfn._checkpoints import WHICH
from finetune_tabpfn._tasks import Kind
from finetune_tabpfn.utils._files import damage_of
from finetune_tabpfn.utils._random_state import untouched_random_state

TabPFN: TypeAlias = TabPFNClassifier | TabPFNRegressor


@contextmanager
def on_its_own() -> Iterator[None]:
    """Keep what a user has set for other estimators away from tabpfn's transformers.

    The arrays that they hand each other stay arrays; and the columns that they work on, jobs of
    milliseconds, do not go to the workers that joblib has been given, on other machines perhaps.
    """
    with config_context(transform_output="default"), joblib.parallel_config("sequential"):
        yield


class ConstantTableError(ValueError):
    """Raised for a table of which no column varies, which tabpfn cannot be fitted to."""


def load(path: Path, kind: Kind, device: torch.device) -> Specs:
    """Load a checkpoint as a network of its own, in float32.

    Parameters
    ----------
    path : pathlib.Path
        An existing file: tabpfn would try to download a missing one.
    kind : {"classification", "regression"}
    device : torch.device

    Returns
    -------
    Specs
        tabpfn's ``ModelSpecs``: network, architecture, inference settings, and for regression
        the distribution over the standardised target. Dates and text are expanded into
        features, which tabpfn can but does not do by default.

    Raises
    ------
    ValueError
        When the file is no TabPFN checkpoint of this task.
    """
    sentence = f"base_model={str(path)!r} cannot be read as a TabPFN checkpoint for {kind}: "
    damage = _damage(path, path.stat().st_mtime_ns)
    if damage is not None:
        raise ValueError(sentence + damage)
    try:
        models, configs, distribution, inference = _read(path, path.stat().st_mtime_ns, kind)
    except Exception as error:  # torch, pickle, safetensors, pydantic: whatever reading met
        raise ValueError(sentence + _reason(path, kind, error)) from error
    return Specs(
        # what was read is kept and shared
        model=copy.deepcopy(models[0]).float().to(device),
        architecture_config=configs[0],
        inference_config=dataclasses.replace(inference, TRANSFORM_DATES=True, TRANSFORM_TEXT=True),
        norm_criterion=None if distribution is None else copy.deepcopy(distribution).to(device),
    )


# a worker fits many times: the base model stays, beside the last one of those that were made of it
@functools.lru_cache(maxsize=2)
def _read(path: Path, modified: int, kind: Kind) -> tuple[Any, ...]:
    """Read a checkpoint once."""
    # building a network draws random weights; two threads at once would not restore the state
    with untouched_random_state():
        return initialize_tabpfn_model(path, WHICH[kind])


@functools.lru_cache(maxsize=32)
def _damage(path: Path, modified: int) -> str | None:
    """Say what is wrong with a file of torch's, which torch would read without a word."""
    return damage_of(path) if path.suffix == ".ckpt" else None


def _reason(path: Path, kind: Kind, error: Exception) -> str:
    """Say why a file cannot be read, without advice on how to read it by running its code."""
    if isinstance(error, pickle.UnpicklingError):
        return "it holds more than tensors, numbers and text, or is not a checkpoint"
    for other in WHICH:
        if other != kind and _is_for(path, other):
            return f"it is one for {other}"
    said = " ".join(str(error).split())
    if isinstance(error, (LookupError, AttributeError, TypeError)):
        said = f"it holds something else ({type(error).__name__}: {said})"
    return (said or type(error).__name__)[:300]


def _is_for(path: Path, kind: Kind) -> bool:
    try:
        with untouched_random_state():
            initialize_tabpfn_model(path, WHICH[kind])
    except Exception:
        return False
    return True


def as_tabpfn_takes_them(devices: Sequence[torch.device]) -> str | list[str]:
    """Return devices as the parameter of tabpfn's estimators: one by its name, or a list."""
    names = [str(device) for device in devices]
    return names[0] if len(names) == 1 else names


def load_fit(path: Path, device: str = "auto") -> TabPFN:
    """Load a ".tabpfn_fit" archive, a fitted estimator as tabpfn itself saves it."""
    return load_fitted_tabpfn_model(path, device=device)


@dataclass(frozen=True)
class Blueprint:
    """How the deployed TabPFN estimator is built; the one that is trained is built alike.

    Attributes
    ----------
    kind : {"classification", "regression"}
    specs : Specs
        The network is held by reference: what is trained is what predicts.
    n_estimators : int
        Members.
    devices : tuple of torch.device
        It is trained on the first; the members predict on all of them.
    categorical_features : sequence of int, optional
        Positions of the columns declared categorical.
    random_state : int
    precision : str
        "fp32" keeps inference in float32; anything else leaves the choice to tabpfn.
    max_context : int
        Rows beyond this number are drawn anew for each member, so that the members together
        see more of the table than one could hold.
    fit_mode : {"fit_preprocessors", "fit_with_cache"}
        Of what is deployed.
    """

    kind: Kind
    specs: Specs
    n_estimators: int
    devices: tuple[torch.device, ...]
    categorical_features: Sequence[int] | None
    random_state: int
    precision: str
    max_context: int
    fit_mode: str = "fit_preprocessors"

    @on_its_own()
    def fit(self, X: Any, y: Any, fit_mode: str = "fit_preprocessors") -> TabPFN:
        """Return a TabPFN estimator around the network, fitted to a table."""
        many = len(y) > self.max_context
        estimator = TabPFNClassifier if self.kind == "classification" else TabPFNRegressor
        unfitted = estimator(
            model_path=self.specs,
            n_estimators=self.n_estimators,
            device=as_tabpfn_takes_them(self.devices),
            categorical_features_indices=self.categorical_features,
            random_state=self.random_state,
            fit_mode=fit_mode,
            kv_cache_precision="auto",  # as computed: what was validated is what is predicted
            inference_precision=torch.float32 if self.precision == "fp32" else "auto",
            # rows and columns beyond the pretraining are allowed: fine-tuning is for them too
            ignore_pretraining_limits=True,
            inference_config={"SUBSAMPLE_SAMPLES": self.max_context} if many else None,
        )
        try:
            return unfitted.fit(X, y)
        except TabPFNValidationError as error:
            if "constant" not in str(error):
                raise
            raise ConstantTableError(
                f"All columns of X ({X.shape[1]}) are constant or missing throughout; at least one "
                "with two different values is needed to predict from."
            ) from error

    def deploy(self, weights: dict[str, torch.Tensor] | None, X: Any, y: Any) -> TabPFN:
        """Return the fitted estimator that predicts with some weights, None for those it has."""
        if weights is not None:
            self.specs.model.load_state_dict(weights)
        self.specs.model.eval().zero_grad(set_to_none=True)
        return self.fit(X, y, self.fit_mode)

    def copy(self) -> Blueprint:
        """Return the same blueprint around a copy of the network as it is now."""
        specs = dataclasses.replace(self.specs, model=copy.deepcopy(self.specs.model))
        return dataclasses.replace(self, specs=specs)

    def snapshot(self, X: Any, y: Any) -> TabPFN:
        """Return the fitted estimator that predicts with a copy of the network as it is now."""
        blueprint = dataclasses.replace(self.copy(), fit_mode="fit_preprocessors")
        return blueprint.deploy(None, X, y)

    @property
    def device(self) -> torch.device:
        """Where the network is trained."""
        return self.devices[0]

    @property
    def max_classes(self) -> int:
        """Number of classes that the network can tell apart."""
        return min(
            int(self.specs.inference_config.MAX_NUMBER_OF_CLASSES),
            int(self.specs.architecture_config.max_num_classes),
        )


def forward(
    model: Any,
    x: torch.Tensor,
    y: torch.Tensor,
    *,
    categorical: list[list[int]],
    kind: Kind,
    **options: Any,
) -> torch.Tensor:
    """Run the network once.

    Parameters
    ----------
    model : torch.nn.Module
    x : Tensor of shape (N + Q, B, C)
        Context rows, then query rows.
    y : Tensor of shape (N, B)
        Targets of the context rows.
    categorical : list of list of int
        Positions of the categorical columns, per table of the batch.
    kind : {"classification", "regression"}
        Selects the head of a multitask network.
    **options
        Changes to the architecture's default ``PerformanceOptions``.

    Returns
    -------
    Tensor of shape (Q, B, L)
        Logits over classes or buckets.
    """
    arguments: dict[str, Any] = {}
    if "task_type" in inspect.signature(model.forward).parameters:
        arguments["task_type"] = "multiclass" if kind == "classification" else "regression"
    return model(
        x,
        y,
        only_return_standard_out=True,
        categorical_inds=categorical,
        performance_options=dataclasses.replace(model.get_default_performance_options(), **options),
        **arguments,
    )
