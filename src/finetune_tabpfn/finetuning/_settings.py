"""What a fine-tuning is asked to do, as plain values: the loop never sees an estimator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from pathlib import Path
from typing import Any, ClassVar, Literal

from sklearn.utils._param_validation import Interval, StrOptions


@dataclass(frozen=True)
class Training:
    """Settings of the training that are seldom touched.

    Parameters
    ----------
    weight_decay : float, default=0.0
        Of AdamW.
    max_grad_norm : float, default=1.0
        The gradient is scaled down to this Euclidean norm. None leaves it alone.
    ema_decay : float, default=0.95
        Share of itself that the exponential moving average of the weights keeps at a step; less
        in the first 75 steps, so that a short run is not averaged away. The average is what is
        scored and deployed; the training goes on from the weights themselves. 0: no average.
    plateau_patience : int, default=4
        Evaluations without an improvement after which the run goes back to the best weights and on
        with a third of the learning rate; 0 never does.
    min_delta : float, default=1e-4
        An evaluation improves when its score exceeds the best one by more than this share of it.
    min_gain_se : float, default=0.5
        What counts as a gain on the hold-out, in standard errors that are estimated by resampling
        its rows; less is taken for luck. On n rows it is ``sqrt(1 + 200 / n)`` times as much, and
        over the rows of several folds .75 standard errors more, because each fold chose its best
        evaluation by them. Deployed is the best evaluation, on a hold-out of fewer than 100 rows
        the weights half-way from the base model to it; the base where these do not gain over it. 0
        deploys the best evaluation wherever it scores higher than the base.
    query_size : int, default=None
        Query rows of a split. None: 20 % of the split's rows, at most 1,024.
    warmup_steps : int, default=5
        Steps in which the learning rate rises to its peak.
    gradient_accumulation_steps : int, default=1
        Forward and backward passes that an update spreads its `batch_size` splits over: the
        same gradient with less memory.
    """

    weight_decay: float = 0.0
    max_grad_norm: float | None = 1.0
    ema_decay: float = 0.95
    plateau_patience: int = 4
    min_delta: float = 1e-4
    min_gain_se: float = 0.5
    query_size: int | None = None
    warmup_steps: int = 5
    gradient_accumulation_steps: int = 1

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "max_grad_norm": [Interval(Real, 0, None, closed="neither"), None],
        "ema_decay": [Interval(Real, 0, 1, closed="left")],
        "plateau_patience": [Interval(Integral, 0, None, closed="left")],
        "min_delta": [Interval(Real, 0, None, closed="left")],
        "min_gain_se": [Interval(Real, 0, None, closed="left")],
        "query_size": [Interval(Integral, 1, None, closed="left"), None],
        "warmup_steps": [Interval(Integral, 1, None, closed="left")],
        "gradient_accumulation_steps": [Interval(Integral, 1, None, closed="left")],
    }


@dataclass(frozen=True)
class LoRA:
    """Low-rank updates of all linear layers, as `tuning` of the estimators.

    Source: Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, ICLR 2022. The library
    peft does it; its own `LoraConfig` serves as well.

    Parameters
    ----------
    rank : int, default=8
        Of the updates.
    alpha : int, default=16
        The updates are scaled by ``alpha / rank``.
    dropout : float, default=0.0
        Share of the inputs of the updates that is dropped in training.

    Examples
    --------
    >>> from finetune_tabpfn import FinetunedTabPFNClassifier, LoRA
    >>> FinetunedTabPFNClassifier(tuning=LoRA(rank=4)).tuning
    LoRA(rank=4, alpha=16, dropout=0.0)
    """

    rank: int = 8
    alpha: int = 16
    dropout: float = 0.0

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "rank": [Interval(Integral, 1, None, closed="left")],
        "alpha": [Interval(Integral, 1, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
    }


@dataclass(frozen=True)
class Checkpoint:
    """Where the state of a fit is kept, and whether it goes on from there.

    Parameters
    ----------
    folder : str or pathlib.Path
        For the newest checkpoints, whole or not at all. One folder for one fit.
    every : int, default=1
        Evaluations between two checkpoints; one that improves is written in any case.
    resume : bool or "auto", default=False
        Whether to go on from the newest checkpoint: on a CPU to the very weights that the
        uninterrupted fit would have come to. Where there is none yet the fit begins. False refuses
        a folder that holds checkpoints. True refuses those of another table, other parameters or
        another base model, and damaged ones; "auto" then begins anew or goes on from the one
        before, with a warning. What only decides how long the training goes on, or what is
        recorded, may differ: `max_steps`, `time_limit`, `patience`, `callbacks`, `loggers` and the
        like.

    Examples
    --------
    >>> from finetune_tabpfn import Checkpoint, FinetunedTabPFNClassifier
    >>> FinetunedTabPFNClassifier(checkpoint=Checkpoint("fit", resume="auto")).checkpoint.every
    1
    """

    folder: str | Path
    every: int = 1
    resume: bool | Literal["auto"] = False

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "folder": [str, Path],
        "every": [Interval(Integral, 1, None, closed="left")],
        "resume": ["boolean", StrOptions({"auto"})],
    }


@dataclass(frozen=True)
class Settings:
    """The parameters of an estimator that the fine-tuning of a network reads.

    Attributes
    ----------
    learning_rate : float, "auto" or None
    tuning : str, LoRA or peft.LoraConfig
    batch_size, eval_interval : int or "auto"
    max_steps : int
    patience : int or None
        None: no early stopping.
    precision : str
    fit_mode : str
        Of the predictor that is fitted at the end.
    context_size : int or None
    balanced_contexts : bool
    training : Training
    callbacks : sequence of Callback
        The user's.
    """

    learning_rate: float | Literal["auto"] | None = None
    tuning: Any = "full"
    batch_size: int | Literal["auto"] = "auto"
    max_steps: int = 500
    eval_interval: int | Literal["auto"] = "auto"
    patience: int | None = 9
    precision: str = "auto"
    fit_mode: str = "fit_preprocessors"
    context_size: int | None = None
    balanced_contexts: bool = False
    training: Training = field(default_factory=Training)
    callbacks: Sequence[object] = ()
