"""The one list of parameters: both estimators, the configuration and the command line read it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from finetune_tabpfn._scoring import Scoring
from finetune_tabpfn.training._loop import HOOKS
from finetune_tabpfn.utils._text import nearest, unknown_name

PARAMETERS = """\
base_model : str or path, default="auto"
        The pretrained checkpoint to start from: "auto", "mini", "v2", "v2.5", "v2.6", "v3",
        "v3.5", "v3.5-fast" or the path of a file. "auto" is the version that a plain TabPFN
        estimator would use if its file is in TabPFN's cache already, else v2 (open licence, no
        login), from the cache or downloaded, else the mini model that ships with this package,
        with a warning. Never opens a browser, never waits for a login.
    learning_rate : float or "auto", default=None
        Peak learning rate of AdamW. None chooses by the size of the base model: 4e-4 for the
        mini models, about 6e-5 for TabPFN v2, 1e-5 for the largest. "auto" tries that, 0.3 and 3
        times that for 20 steps each, in at most 0.3 of the time limit, and takes what scores
        best on the hold-out; another than the usual one only where the difference is more than
        luck (`min_gain_se`).
    tuning : {"full", "last_layers", "head", "norm", "lora"}, default="full"
        Which weights are trained: all; the last two blocks and the head; the head alone; the
        normalisations' scales and all biases; low-rank updates of all linear layers (LoRA, Hu et
        al. 2022), which needs the library peft.
    lora_rank : int, default=8
        Of `tuning="lora"`: rank of the updates.
    lora_alpha : int, default=16
        Of `tuning="lora"`: the updates are scaled by ``lora_alpha / lora_rank``.
    lora_dropout : float, default=0.0
        Of `tuning="lora"`: share of the inputs of the updates that is dropped in training.
    batch_size : int or "auto", default="auto"
        Splits of context and query rows per optimizer update. "auto" is one on a CPU; on a GPU,
        which is as soon done with several small ones, as many as come to 8,192 rows, at most 8.
    max_steps : int, default=500
        Optimizer updates at most; 0 deploys the base model as it is.
    time_limit : float, default=None
        Seconds for the whole of `fit`: loading, preparing, training, validation and the final
        fit of the predictor. None sets no limit.
    eval_interval : int or "auto", default="auto"
        Steps per round; the hold-out is scored after each round. "auto" is 10, or more where
        the validation would take more than about 15 % of the work.
    early_stopping : bool, default=True
        Whether to end when the score has stopped improving. The best weights are kept in any
        case.
    patience : int, default=9
        Rounds without an improvement before early stopping ends the run; grows to half of the
        best round.
    retreat_rounds : int, default=4
        Rounds without an improvement after which the run goes back to the best weights and on
        with a third of the learning rate; 0 never does.
    min_delta : float, default=1e-4
        A round improves when its score exceeds the best one by more than this share of it.
    scoring : str or callable, default=None
        Any scorer or scorer name of scikit-learn, greater is better. None is
        "neg_log_loss" for classification and "neg_root_mean_squared_error" for regression.
        Whatever it is, class probabilities whose log-loss on the hold-out is above the base
        model's are not deployed, unless `min_gain_se` is 0.
    validation : "random", "time", float, splitter or None, default="random"
        Which rows are held out, unless `X_val` is given. "random": stratified by class or by
        the target's deciles; with `groups`, whole groups. "time": the last rows. A float is
        "random" with this share of the rows. Of a splitter of scikit-learn, the first split.
        None holds none out: all rows train for exactly `max_steps` steps, or until the time limit,
        and the averaged weights of the last one are deployed. Nothing is scored, so nothing stops
        early, goes back or is kept as best (`early_stopping`, `patience`, `retreat_rounds`,
        `min_delta`, `min_gain_se` and `scoring` do nothing), and nothing promises that the result
        is no worse than the base model.
    validation_fraction : float, default=None
        Share of the rows to hold out for "random" and "time". None is .2, at most 2,048 rows.
    n_folds : int, default=1
        With 2 or more, that many folds are held out in turn; the network is fine-tuned for each
        of them, and the predictions of all are averaged (bagging). Takes as many times as long,
        or divides `time_limit`.
    n_estimators : int, default=4
        Members: preprocessed views of the table that the deployed ensemble averages. The same
        members are validated.
    fit_mode : {"fit_preprocessors", "fit_with_cache"}, default="fit_preprocessors"
        As in tabpfn, of the deployed predictor: "fit_with_cache" sends the context through the
        network once, in `fit`; predicting a few rows then takes a fraction of the time, and the
        fitted estimator holds the cache, in memory and in pickles. It is kept as computed, not in
        8 bits as tabpfn does by default, so that in float32 the predictions are the same (to 1e-6).
        In bf16, which prediction takes on a GPU with a large network and where `precision` asks for
        it, context and rows in one pass round otherwise than a cached context: a probability
        differed by .0006 in the mean and .018 at most (digits, 600 rows).
    context_size : int, default=None
        Context rows of a split. None: what the table and the device allow, at most 10,000 on a
        GPU and 1,024 together with the query rows on a CPU.
    query_size : int, default=None
        Query rows of a split. None: 40 % of the split's rows, at most 1,024.
    class_weight : dict or "balanced", default=None
        What an error on a class costs, relative to the others; "balanced" is inverse to the
        share of the class. Weighs the loss and the validation score, and multiplies the
        predicted probabilities. Classes that are not named weigh 1; a key is the label itself or,
        as in JSON, the label as it is written. Classification only.
    balanced_contexts : bool, default=False
        Whether the contexts of training are filled with all classes alike, which gives rare
        ones more rows to be read from. Classification only.
    weight_decay : float, default=0.0
        Of AdamW.
    ema_decay : float, default=0.95
        Share of itself that the exponential moving average of the weights keeps at a step; less
        in the first 75 steps, so that a short run is not averaged away. The average is what is
        validated and deployed; 0 does without.
    min_gain_se : float, default=0.5
        What counts as a gain on the hold-out, in standard errors that are estimated by
        resampling its rows; less is taken for luck. On n rows it is ``sqrt(1 + 200 / n)`` times
        as much. Deployed is the best round, on fewer than 100 rows the weights half-way from the
        base model to it; the base where these do not gain over it. 0 deploys the best round
        wherever it scores higher than the base.
    max_grad_norm : float or None, default=1.0
        The gradient is scaled down to this norm; None leaves it alone.
    gradient_accumulation_steps : int, default=1
        Forward and backward passes that an update spreads its `batch_size` splits over: the
        same gradient with less memory.
    precision : {"auto", "fp32", "bf16", "fp16"}, default="auto"
        Type of the forward and backward pass in training. "auto" is fp32 for networks smaller
        than v2; for others bf16 (fp16 on older cards) on CUDA and bf16 on CPUs with units for it.
        On a CPU prediction stays in float32 unless half precision is asked for; "fp32" keeps it
        there on a GPU as well.
    categorical_features : array-like of int, str or bool, default=None
        Columns to treat as categorical: positions, names or a mask. None lets TabPFN infer
        them; columns of pandas' category type are always among them.
    device : str or torch.device, default="auto"
        "auto" is the first CUDA GPU, else Apple's GPU, else the CPU.
    random_state : int, RandomState or None, default=None
        An int makes the fit reproducible: bitwise on a CPU, with the same number of threads,
        when no `time_limit` cuts it.
    callbacks : sequence, default=None
        Objects with methods of `finetune_tabpfn.Callback`. A hook that returns a text ends the
        run with that reason, one that returns anything else that is true with the name of its
        class. What a hook raises reaches you, once the best weights so far are safe.
    loggers : str, object or sequence of them, default=None
        What records the fit: "progress", "jsonl" and "csv" (a record per step and round, written
        as they come), "plot" (training curve as PNG), "wandb", "tensorboard", "mlflow", names of
        the entry-point group "finetune_tabpfn.loggers", or objects with methods of
        `finetune_tabpfn.Logger`. One that fails warns once and does not harm the fit.
    log_dir : str or pathlib.Path, default=None
        Folder for what the loggers write. A clone, of which searches and cross-validation fit
        many, writes its files into a folder of its own in it: "fit-1", "fit-2", ...
    checkpoint_dir : str or pathlib.Path, default=None
        Folder for the state of the training: the newest checkpoints, whole or not at all. One
        folder for one fit.
    checkpoint_interval : int, default=1
        Rounds between two checkpoints; a round that improves is written in any case.
    resume : bool or "auto", default=False
        Whether to go on from the newest checkpoint in `checkpoint_dir`: on a CPU to the very
        weights that the uninterrupted fit would have come to. Where there is none yet the fit
        begins. False refuses a folder that holds checkpoints. True refuses those of another
        table, other parameters or another base model, and damaged ones; "auto" then begins anew
        or goes on from the one before, with a warning. What only decides how long the training
        goes on, or what is recorded, may differ: `max_steps`, `time_limit`, `patience`,
        `early_stopping`, `callbacks`, `loggers` and the like.
    verbose : bool or int, default=False
        Whether to show a progress bar, as the logger "progress" does."""

ATTRIBUTES = """\
predictor_ : TabPFNClassifier or TabPFNRegressor
        The fitted plain TabPFN estimator that predicts: the chosen weights, all rows as context.
    predictors_ : list
        One for each fold; the predictions of all are averaged. `predictor_` is the first.
    history_ : pandas.DataFrame
        A row per round: fold, round, step, seconds, train_loss, score, learning_rate; of the
        hold-out also log_loss, accuracy and roc_auc, or rmse, mae, r2 and nll (mean negative log
        density). Round 0 is the untouched base model.
    base_score_, best_score_ : float
        Score on the hold-out of the base model and of the deployed weights, the mean over folds.
        NaN when the time limit left no room to score, the table is too small to hold rows out,
        or `validation` is None. With all the context rows that are deployed, where something was
        to be decided and time allowed; the rounds of a large table have fewer.
    best_step_ : int
        Step of the best round; 0 when the base model was best. The median over folds.
    n_steps_ : int
        Optimizer updates that were made, in all folds, without those that tried a learning rate.
    learning_rate_ : float
        The peak learning rate that was used, the median over folds; NaN when nothing was trained.
    stop_reason_ : str
        "early_stopping", "max_steps", "time_limit", "interrupted", "out of memory",
        "diverged: ...", "no score: ..." (a scorer that returned NaN), "failed: ..." (an exception,
        which `fit` raised), "too few rows", "constant target", "constant columns", or
        what a callback said.
    deployed_weights_ : {"base", "best round", "average", "last round"}
        What the hold-out spoke for: the base model's weights, those of the best round, or the
        average of the two. Without a hold-out those of the last round, or the base model's where
        the training diverged.
    base_model_ : BaseModel
        Name, path, licence and hash of the base model that was used.
    scoring_ : str
        What the scores are.
    columns_ : Columns
        What each column held in `fit`, by which every later table is read.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only when the columns of `X` have names."""

_DOCSTRING = """{summary}

    Holds out rows, trains the base model's network with early stopping inside a wall-clock
    budget, keeps what scores best on the hold-out (the untouched base is a candidate) and fits
    a plain TabPFN estimator with those weights on all rows.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    {attributes}

    Examples
    --------{example}"""

Estimator = TypeVar("Estimator")
Called = TypeVar("Called", bound=Callable[..., Any])


class Splitter(Protocol):
    """A splitter of scikit-learn."""

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Any:
        """Yield row numbers to train on and to validate on."""
        ...

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Return how many splits there are."""
        ...


def documented(
    *, attributes: str = "", example: str
) -> Callable[[type[Estimator]], type[Estimator]]:
    """Complete a class docstring that is one line by the shared parameters and attributes."""

    def complete(estimator: type[Estimator]) -> type[Estimator]:
        estimator.__doc__ = _DOCSTRING.format(
            summary=estimator.__doc__,
            parameters=PARAMETERS,
            attributes=attributes + ATTRIBUTES,
            example=example,
        )
        return estimator

    return complete


def explaining(function: Called) -> Called:
    """Let a function, a method or a constructor say which argument was meant.

    Its signature stays as it is. What is a parameter of the estimators, and none of the function,
    is said to belong into its `finetuning_config`.
    """
    names = list(inspect.signature(function).parameters)

    @functools.wraps(function)
    def explained(*values: Any, **arguments: Any) -> Any:
        if names[0] != "self":
            called = function.__name__
        else:
            called = type(values[0]).__name__
            if function.__name__ != "__init__":
                called = f"{called}.{function.__name__}"
            elif values[1:]:
                raise TypeError(
                    f"{called} takes its parameters by name, such as base_model={values[1]!r}."
                )
        for name in arguments:
            if name not in names:
                raise TypeError(_unknown_argument(called, name, names))
        return function(*values, **arguments)

    return explained  # type: ignore[return-value]


def _unknown_argument(called: str, name: str, names: Sequence[str]) -> str:
    """Return the sentence for an argument that a function does not have."""
    config = "finetuning_config"
    others = list(Parameters._parameter_constraints) if config in names else []
    near = nearest(name, [*names, *others])
    if near in others:
        meant = f"{config}={{{near!r}: ...}}"
        return f"{called} is given {name!r}, which is unknown; did you mean {meant}?"
    return unknown_name(f"{called} is given", name, [other for other in names if other != "self"])


class Parameters(BaseEstimator):
    """Names, defaults and permitted values of the parameters."""

    _parameter_constraints: dict[str, list[Any] | str] = {  # noqa: RUF012 - scikit-learn's name and form
        "base_model": [str, Path],
        "learning_rate": [Interval(Real, 0, 1, closed="neither"), StrOptions({"auto"}), None],
        "tuning": [StrOptions({"full", "last_layers", "head", "norm", "lora"})],
        "lora_rank": [Interval(Integral, 1, None, closed="left")],
        "lora_alpha": [Interval(Integral, 1, None, closed="left")],
        "lora_dropout": [Interval(Real, 0, 1, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "max_steps": [Interval(Integral, 0, None, closed="left")],
        "time_limit": [Interval(Real, 0, None, closed="neither"), None],
        "eval_interval": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "early_stopping": ["boolean"],
        "patience": [Interval(Integral, 1, None, closed="left")],
        "retreat_rounds": [Interval(Integral, 0, None, closed="left")],
        "min_delta": [Interval(Real, 0, None, closed="left")],
        "scoring": [str, callable, None],
        "validation": [
            StrOptions({"random", "time"}),
            Interval(Real, 0, 1, closed="neither"),
            HasMethods(["split", "get_n_splits"]),
            None,
        ],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither"), None],
        "n_folds": [Interval(Integral, 1, None, closed="left")],
        "n_estimators": [Interval(Integral, 1, None, closed="left")],
        "fit_mode": [StrOptions({"fit_preprocessors", "fit_with_cache"})],
        "context_size": [Interval(Integral, 1, None, closed="left"), None],
        "query_size": [Interval(Integral, 1, None, closed="left"), None],
        "class_weight": [dict, StrOptions({"balanced"}), None],
        "balanced_contexts": ["boolean"],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "ema_decay": [Interval(Real, 0, 1, closed="left")],
        "min_gain_se": [Interval(Real, 0, None, closed="left")],
        "max_grad_norm": [Interval(Real, 0, None, closed="neither"), None],
        "gradient_accumulation_steps": [Interval(Integral, 1, None, closed="left")],
        "precision": [StrOptions({"auto", "fp32", "bf16", "fp16"})],
        "categorical_features": ["array-like", None],
        "device": [str, torch.device],
        "random_state": ["random_state"],
        "callbacks": [list, tuple, None],
        "loggers": "no_validation",
        "log_dir": [str, Path, None],
        "checkpoint_dir": [str, Path, None],
        "checkpoint_interval": [Interval(Integral, 1, None, closed="left")],
        "resume": ["boolean", StrOptions({"auto"})],
        "verbose": ["verbose"],
    }

    @explaining
    def __init__(
        self,
        *,
        base_model: str | Path = "auto",
        learning_rate: float | Literal["auto"] | None = None,
        tuning: Literal["full", "last_layers", "head", "norm", "lora"] = "full",
        lora_rank: int = 8,
        lora_alpha: int = 16,
        lora_dropout: float = 0.0,
        batch_size: int | Literal["auto"] = "auto",
        max_steps: int = 500,
        time_limit: float | None = None,
        eval_interval: int | Literal["auto"] = "auto",
        early_stopping: bool = True,
        patience: int = 9,
        retreat_rounds: int = 4,
        min_delta: float = 1e-4,
        scoring: Scoring = None,
        validation: Literal["random", "time"] | float | Splitter | None = "random",
        validation_fraction: float | None = None,
        n_folds: int = 1,
        n_estimators: int = 4,
        fit_mode: Literal["fit_preprocessors", "fit_with_cache"] = "fit_preprocessors",
        context_size: int | None = None,
        query_size: int | None = None,
        class_weight: Mapping[Any, float] | Literal["balanced"] | None = None,
        balanced_contexts: bool = False,
        weight_decay: float = 0.0,
        ema_decay: float = 0.95,
        min_gain_se: float = 0.5,
        max_grad_norm: float | None = 1.0,
        gradient_accumulation_steps: int = 1,
        precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto",
        categorical_features: Sequence[int] | Sequence[str] | Sequence[bool] | None = None,
        device: str | torch.device = "auto",
        random_state: int | np.random.RandomState | None = None,
        callbacks: Sequence[object] | None = None,
        loggers: str | object | Sequence[str | object] | None = None,
        log_dir: str | Path | None = None,
        checkpoint_dir: str | Path | None = None,
        checkpoint_interval: int = 1,
        resume: bool | Literal["auto"] = False,
        verbose: bool | int = False,
    ) -> None:
        self.base_model = base_model
        self.learning_rate = learning_rate
        self.tuning = tuning
        self.lora_rank = lora_rank
        self.lora_alpha = lora_alpha
        self.lora_dropout = lora_dropout
        self.batch_size = batch_size
        self.max_steps = max_steps
        self.time_limit = time_limit
        self.eval_interval = eval_interval
        self.early_stopping = early_stopping
        self.patience = patience
        self.retreat_rounds = retreat_rounds
        self.min_delta = min_delta
        self.scoring = scoring
        self.validation = validation
        self.validation_fraction = validation_fraction
        self.n_folds = n_folds
        self.n_estimators = n_estimators
        self.fit_mode = fit_mode
        self.context_size = context_size
        self.query_size = query_size
        self.class_weight = class_weight
        self.balanced_contexts = balanced_contexts
        self.weight_decay = weight_decay
        self.ema_decay = ema_decay
        self.min_gain_se = min_gain_se
        self.max_grad_norm = max_grad_norm
        self.gradient_accumulation_steps = gradient_accumulation_steps
        self.precision = precision
        self.categorical_features = categorical_features
        self.device = device
        self.random_state = random_state
        self.callbacks = callbacks
        self.loggers = loggers
        self.log_dir = log_dir
        self.checkpoint_dir = checkpoint_dir
        self.checkpoint_interval = checkpoint_interval
        self.resume = resume
        self.verbose = verbose

    def set_params(self, **parameters: Any) -> Parameters:
        """Set parameters by name.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For a name that no parameter has; the message says which is the nearest.
        """
        names = list(self.get_params(deep=False))
        for name in parameters:
            if name not in names:
                raise ValueError(unknown_name(f"{type(self).__name__} is given", name, names))
        super().set_params(**parameters)
        return self

    def _validate_params(self) -> None:
        """Raise, in one sentence, for what is not permitted or contradicts itself."""
        _check_callbacks(self.callbacks)
        super()._validate_params()
        self._check_validation()

    def _check_validation(self) -> None:
        """Refuse two answers to the question which rows are held out."""
        way, fraction = self.validation, self.validation_fraction
        if way is None:
            for name, off in (("n_folds", 1), ("validation_fraction", None)):
                value = getattr(self, name)
                if value != off:
                    raise ValueError(
                        f"validation=None holds no rows out, which {name}={value} asks for; leave "
                        "one of them out."
                    )
        if fraction is not None and not isinstance(way, str):
            raise ValueError(
                f"validation={way!r} says which rows are held out and validation_fraction="
                f'{fraction} how many; give one of them, or validation="time" with a fraction.'
            )
        if self.n_folds > 1 and (fraction is not None or isinstance(way, Real)):
            name, value = ("validation_fraction", fraction) if fraction else ("validation", way)
            raise ValueError(
                f"n_folds={self.n_folds} holds out 1/{self.n_folds} of the rows in turn, which "
                f"{name}={value} contradicts; leave one of them out."
            )


def _check_callbacks(callbacks: Any) -> None:
    """Raise for what no run could ask anything."""
    if callbacks is None:
        return
    if not isinstance(callbacks, (list, tuple)):
        raise ValueError(
            f"callbacks={callbacks!r} must be a list of objects with methods of "
            'finetune_tabpfn.Callback; names such as "progress" belong to `loggers`.'
        )
    for callback in callbacks:
        if isinstance(callback, type) or not any(hasattr(callback, hook) for hook in HOOKS):
            raise ValueError(
                f"callbacks holds {callback!r}, which is no object with a method of "
                f"finetune_tabpfn.Callback: {', '.join(HOOKS)}."
            )
