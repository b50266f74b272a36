"""What TabPFN's preprocessing makes of a table, once."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from tabpfn.preprocessing.clean import clean_data_transform
from tabpfn.preprocessing.datamodel import FeatureModality
from tabpfn.validation import ensure_compatible_predict_input_sklearn

from finetune_tabpfn._tabpfn._network import Blueprint, TabPFN, on_its_own
from finetune_tabpfn._tabpfn._table import Member, PreparedTable
from finetune_tabpfn._tasks import Task
from finetune_tabpfn.data._sampling import Indices


@on_its_own()
def prepare(
    blueprint: Blueprint,
    task: Task,
    X_train: Any,
    y_train: npt.NDArray[Any],
    X_held_out: Any,
    weight: npt.NDArray[np.float64] | None = None,
    validation_context: int | None = None,
) -> PreparedTable:
    """Fit TabPFN's preprocessing on the training rows, once, and keep what it makes of all rows.

    Parameters
    ----------
    blueprint : Blueprint
    task : Task
    X_train : DataFrame or ndarray
    X_held_out : DataFrame or ndarray, optional
        None prepares for a training without validation.
    y_train : ndarray of shape (n_train,)
    weight : ndarray of shape (n_train,), optional
        Of the training rows as query rows; as context they have none.
    validation_context : int, optional
        Context rows of a reduced validation at most; by default all of them.
    """
    # its network is trained on one device, whatever it predicts on later
    around = dataclasses.replace(blueprint, devices=blueprint.devices[:1])
    estimator = around.fit(X_train, y_train)
    cleaned_train = _clean(estimator, X_train)
    cleaned_held_out = cleaned_train[:0] if X_held_out is None else _clean(estimator, X_held_out)
    y_standard = task.encode(y_train)
    members = [
        _prepare_member(
            member, rows, task, cleaned_train, cleaned_held_out, y_standard, blueprint.device
        )
        for member, rows in zip(
            estimator.executor_.ensemble_members, _context_rows(estimator), strict=True
        )
    ]
    return PreparedTable(estimator, members, task, blueprint.devices, weight, validation_context)


def _context_rows(estimator: TabPFN) -> list[Indices]:
    """Return the training rows that each member uses as context."""
    preprocessor = estimator.ensemble_preprocessor_
    if preprocessor.subsample_row_indices is not None:
        return [np.asarray(rows) for rows in preprocessor.subsample_row_indices]
    return [np.arange(estimator.n_train_samples_)] * estimator.n_estimators_


def _clean(estimator: TabPFN, X: Any) -> npt.NDArray[Any]:
    """Take rows through the cleaning that TabPFN's predict does before its members."""
    X = estimator.date_transformer_.transform(X)
    X = estimator.text_transformer_.transform(X)
    X = ensure_compatible_predict_input_sklearn(X, estimator)
    return clean_data_transform(
        X,
        cat_indices=estimator.inferred_feature_schema_.indices_for(FeatureModality.CATEGORICAL),
        ord_encoder=estimator.ordinal_encoder_,
        passthrough_inf=estimator.inference_config_.PASSTHROUGH_INF,
    )


def _prepare_member(
    member: Any,
    rows: Indices,
    task: Task,
    train: npt.NDArray[Any],
    held_out: npt.NDArray[Any],
    y_standard: npt.NDArray[np.float32],
    device: torch.device,
) -> Member:
    """Put a member's rows into one tensor: training rows in their order, then the hold-out."""
    rest = np.setdiff1d(np.arange(len(train)), rows)  # empty unless the member subsamples
    parts = [member.X_train]
    parts += [member.transform_X_test(part) for part in (train[rest], held_out) if len(part)]
    x = torch.cat([torch.as_tensor(part, dtype=torch.float32) for part in parts]).to(device)
    schema = member.feature_schema
    if member.gpu_preprocessor is not None:
        # once for all: outlier limits and the like come from all context rows, as in prediction
        result = member.gpu_preprocessor(
            x[:, None], feature_schema=schema, num_train_rows=len(rows), use_fitted_cache=False
        )
        x, schema = result.x[:, 0], result.feature_schema
    position = np.argsort(np.concatenate([rows, rest]))
    x = torch.cat([x[torch.from_numpy(position).to(device)], x[len(train) :]])
    return Member(
        x=x,
        targets=_targets(member, rows, rest, task, y_standard),
        context_rows=torch.from_numpy(rows).to(device),
        context_y=torch.as_tensor(member.y_train, dtype=torch.float32, device=device),
        categorical=schema.indices_for(FeatureModality.CATEGORICAL),
        config=member.config,
    )


def _targets(
    member: Any, rows: Indices, rest: Indices, task: Task, y_standard: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Return the targets of all training rows in the space where the loss is taken.

    Classes stay in the task's codes. A regression target goes through the member's own target
    transform, so that loss and prediction agree.
    """
    transform = getattr(member.config, "target_transform", None)
    if task.kind == "classification" or transform is None:
        return y_standard
    targets = np.empty(len(y_standard), dtype=np.float32)
    targets[rows] = member.y_train
    if len(rest):
        targets[rest] = transform.transform(y_standard[rest][:, None]).ravel()
    return targets
