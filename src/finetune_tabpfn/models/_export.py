"""Models on disk: a fine-tuned network as a checkpoint of tabpfn, a fitted estimator loaded."""

from __future__ import annotations

import pickle
import re
import zipfile
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import joblib
from sklearn.utils.validation import check_is_fitted

from finetune_tabpfn import _tabpfn
from finetune_tabpfn._nested import flat
from finetune_tabpfn.utils._endings import NETWORKS
from finetune_tabpfn.utils._files import save_whole


def save_model(estimator: Any, path: str | Path) -> Path:
    """Write the fine-tuned network as a checkpoint that plain TabPFN takes as ``model_path``.

    Parameters
    ----------
    estimator : FinetunedTabPFNClassifier or FinetunedTabPFNRegressor
        Fitted.
    path : str or pathlib.Path
        A ".safetensors" or ".ckpt" file. tabpfn reads the version off the file's name: keep
        "v3" (or "v2.5", ...) in it where the base model's name has it.

    Returns
    -------
    pathlib.Path

    Notes
    -----
    The file holds the network, not the rows: a plain ``TabPFNClassifier(model_path=path)`` is
    fitted to the table again and then predicts the same, apart from `class_weight`, which this
    package applies, from the rows that each member draws of a very large table, and from the
    precision: tabpfn's own ``inference_precision="auto"`` is bfloat16 on CPUs with units for it
    and half precision on a GPU, where this package may stay in float32. With the same
    `n_estimators` and `random_state`, ``inference_precision=torch.float32`` predicts what a CPU
    predicts here. Base model, its hash and licence, scores, versions and date are in its metadata
    under "finetune_tabpfn".
    """
    check_is_fitted(estimator)
    path = check_model_path(path)
    write_network(path, estimator.predictor_.model_path, describe(estimator))
    return path


def checkpoint_name(estimator: Any) -> str:
    """Return a file name off which tabpfn reads the same version as off the base model's."""
    return f"model-{_tabpfn.version_of(estimator.base_model_.path)}.safetensors"


def check_model_path(path: str | Path) -> Path:
    """Return where a network is to be written, which must end as tabpfn's files do."""
    path = Path(path)
    if path.suffix not in NETWORKS:
        raise ValueError(f"path={str(path)!r} must end in .safetensors or .ckpt.")
    return path


def write_network(path: Path, specs: _tabpfn.Specs, origin: dict[str, Any]) -> None:
    """Write a network as a checkpoint of tabpfn, with where it comes from."""
    save_whole(path, lambda part: _tabpfn.write_checkpoint(specs, part, origin))


def now() -> str:
    """Return the date and time, in UTC."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def describe(estimator: Any) -> dict[str, Any]:
    """Return where a fine-tuned model comes from, as JSON-like data."""
    return {
        **describe_start(estimator, estimator.base_model_),
        "scoring": estimator.scoring_,
        "base_score": estimator.base_score_,
        "best_score": estimator.best_score_,
        "best_step": estimator.best_step_,
        "stop_reason": estimator.stop_reason_,
        "date": now(),
    }


def describe_start(estimator: Any, base_model: Any) -> dict[str, Any]:
    """Return what is known before the training, as JSON-like data.

    Parameters
    ----------
    estimator : FinetunedTabPFNClassifier or FinetunedTabPFNRegressor
        Every setting of its parameters is there by a name of its own.
    base_model : BaseModel
    """
    return {
        "base_model": as_plain(asdict(base_model)),
        "licence": base_model.licence,
        "parameters": as_plain(flat(estimator.get_params(deep=False))),
        "versions": {name: version(name) for name in ("tabpfn", "torch", "scikit-learn")},
    }


def as_plain(value: Any) -> Any:
    """Return a value as JSON-like data: an object as it is written, without its place in memory."""
    if isinstance(value, (int, float, str, type(None))):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, dict):
        return {str(key): as_plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_plain(one) for one in value]
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def load_fitted(path: str | Path) -> Any:
    """Load a fitted estimator: a joblib file, or tabpfn's own ".tabpfn_fit" archive.

    Loading a joblib file runs code from it: load only files that you trust.

    Raises
    ------
    ValueError
        When the file is neither.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path} is not a file.")
    if path.suffix in NETWORKS:
        raise ValueError(
            f"{path} holds a network without the rows it predicts from; `finetune-tabpfn fit "
            f"DATA --target COL --base-model {path} --max-steps 0` makes a model of it."
        )
    try:
        if path.suffix == ".tabpfn_fit":
            return _tabpfn.load_fit(path)
        estimator = joblib.load(path)
        check_is_fitted(estimator)
    except LookupError as error:  # a byte that is no instruction of pickle's
        raise ValueError(f"{path} is not a fitted estimator: it is not a pickle.") from error
    except (
        pickle.UnpicklingError,
        zipfile.BadZipFile,
        EOFError,
        AttributeError,
        TypeError,
        ImportError,
        ValueError,
    ) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path} is not a fitted estimator: {reason}") from error
    return estimator
