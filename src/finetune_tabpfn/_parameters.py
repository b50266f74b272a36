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
from sklearn.utils._param_validation import HasMethods, Interval, RealNotInt, StrOptions

from finetune_tabpfn._nested import FLAT_NAMES, NESTED, check_nested, home_of, with_one
from finetune_tabpfn._scoring import Scoring
from finetune_tabpfn.finetuning._settings import Checkpoint, LoRA, Settings, Training
from finetune_tabpfn.training._callbacks import check_callbacks
from finetune_tabpfn.utils._constraints import check_parameters
from finetune_tabpfn.utils._documentation import LinksDocumentation
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
        mini models, about 6e-5 for TabPFN v2, 1e-5 for the largest, and a third of that on fewer
        than 300 training rows. "auto" tries that, 0.3 and 3 times that for 20 steps each, in at
        most 0.3 of the time limit, and takes what scores best on the hold-out; another than the
        usual one only where the difference is more than luck (`min_gain_se` of `training`).
    tuning : str, LoRA or peft.LoraConfig, default="full"
        "full", "last_layers", "head", "norm" or "lora": which weights are trained. All;
        the last two blocks and the head; the head alone; the normalisations' scales and all
        biases; low-rank updates of all linear layers (LoRA, Hu et al. 2022), which needs the
        library peft. ``LoRA(rank=8, alpha=16, dropout=0.0)`` is "lora" with settings of its own;
        peft's own configuration serves as well.
    batch_size : int or "auto", default="auto"
        Splits of context and query rows per optimizer update. "auto" is one on a CPU; on a GPU,
        which is as soon done with several small ones, as many as come to 8,192 rows, at most 8.
        The processes of torchrun share them; "auto" has one for each at least.
    max_steps : int, default=500
        Optimizer updates at most, of all folds together; 0 deploys the base model as it is.
    time_limit : float, default=None
        Seconds for the whole of `fit`: loading, preparing, training, validation and the final
        fit of the predictor. None sets no limit.
    eval_interval : int or "auto", default="auto"
        Steps per evaluation; the hold-out is scored after each evaluation. "auto" is 10, or more
        where the validation would take more than about 15 % of the work.
    patience : int, default=9
        Evaluations without an improvement before the run ends; grows to half of the best
        evaluation. None: no early stopping. The best weights are kept in any case.
    scoring : str or callable, default=None
        Any scorer or scorer name of scikit-learn, greater is better. None is
        "neg_log_loss" for classification and "neg_root_mean_squared_error" for regression.
        Whatever it is, class probabilities whose log-loss on the hold-out is above the base
        model's are not deployed, unless `min_gain_se` of `training` is 0.
    validation : "random", "time", float, int, splitter, array-like or None, default="random"
        Which rows are held out, unless `X_val` is given. "random": a fifth, at most 2,048 rows,
        stratified by class or by the target's deciles; with `groups`, whole groups. "time": the
        last rows, as many, and the query rows of every split of the training come after its
        context rows; ``TimeSplit(column, test_size, gap)`` of `finetune_tabpfn.forecasting` says
        by which column, and leaves a gap. A float is "random" with this share of the rows, an
        int with this number. Of a splitter of scikit-learn, the first split. An array names the
        rows by their numbers or as a mask. None holds none out: all rows train for exactly
        `max_steps` steps, or until the time limit, and the averaged weights of the last one are
        deployed. Nothing is scored, so nothing stops early, goes back or is kept as best
        (`patience` and `scoring` do nothing), and nothing promises that the result is no worse
        than the base model.
    n_folds : int or "auto", default="auto"
        With 2 or more, that many folds are held out in turn and the network is fine-tuned for each
        of them; what is deployed is decided over the rows of all, and is the mean of the weights.
        The folds share `max_steps` and `time_limit`: with little time there are fewer. "auto" makes
        four of up to 2,000 rows that are held out at random, if `max_steps` is 200 or more, else
        one.
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
        GPU and 1,600 together with the query rows on a CPU.
    precision : {"auto", "fp32", "bf16", "fp16"}, default="auto"
        Type of the forward and backward pass in training. "auto" is fp32 for networks smaller
        than v2; for others bf16 (fp16 on older cards) on CUDA and bf16 on CPUs with units for it.
        On a CPU prediction stays in float32 unless half precision is asked for; "fp32" keeps it
        there on a GPU as well.
    categorical_features : array-like of int, str or bool, default=None
        Columns to treat as categorical: positions, names or a mask. None lets TabPFN infer
        them; columns of pandas' category type are always among them.
    device : str, torch.device or sequence of them, default="auto"
        "auto" is a CUDA GPU, else Apple's GPU, else the CPU. Of several GPUs it is the first;
        where several workers, or processes of torchrun, compute at once, each has its own. Of
        several devices, such as ["cuda:0", "cuda:1"], the first trains, and the members predict on
        all of them, in validations and in `predict`.
    random_state : int, RandomState or None, default=None
        An int makes the fit reproducible: bitwise on a CPU, with the same number of threads,
        when no `time_limit` cuts it.
    training : mapping, default=None
        Advanced settings of the training by name, `Training` has the list: weight_decay (0.0),
        max_grad_norm (1.0), ema_decay (0.95), plateau_patience (4), min_delta (1e-4),
        min_gain_se (0.5), query_size (None), warmup_steps (5), gradient_accumulation_steps (1). A
        search reaches them as ``training__ema_decay``.
    callbacks : sequence, default=None
        Objects with methods of `finetune_tabpfn.Callback`. A hook that returns a text ends the
        run with that reason, one that returns anything else that is true with the name of its
        class. What a hook raises reaches you, once the best weights so far are safe.
    loggers : str, object or sequence of them, default=None
        What records the fit: "progress", "jsonl" and "csv" (a record per step and evaluation,
        written as they come), "plot" (training curve as PNG), "wandb", "tensorboard", "mlflow",
        names of the entry-point group "finetune_tabpfn.loggers", or objects with methods of
        `finetune_tabpfn.Logger`. One that fails warns once and does not harm the fit.
    log_dir : str or pathlib.Path, default=None
        Folder for what the loggers write. A clone, of which searches and cross-validation fit
        many, writes its files into a folder of its own in it: "fit-1", "fit-2", ...
    checkpoint : str, pathlib.Path or Checkpoint, default=None
        Folder for the state of the training: the newest checkpoints, whole or not at all. One
        folder for one fit. ``Checkpoint(folder, every=1, resume=False)`` says how often, and that
        a fit goes on from what the folder holds.
    verbose : bool or int, default=False
        Whether to show a progress bar, as the logger "progress" does."""

ATTRIBUTES = """\
predictor_ : TabPFNClassifier or TabPFNRegressor
        The fitted plain TabPFN estimator that predicts: the chosen weights, all rows as context.
    history_ : pandas.DataFrame
        A row per evaluation: fold, evaluation, step, seconds, train_loss, score, learning_rate; of
        the hold-out also log_loss, accuracy and roc_auc, or rmse, mae, r2 and nll (mean negative
        log density); at last is_deployed: whether its weights are deployed, alone or averaged.
        Evaluation 0 is the untouched base model.
    base_score_, best_score_ : float
        Score on the hold-out of the base model and of the deployed weights; of several folds over
        the rows of all, each predicted by the network that has not been trained on it.
        NaN when the time limit left no room to score, the table is too small to hold rows out,
        or `validation` is None. With all the context rows that are deployed, where something was
        to be decided and time allowed; the evaluations of a large table have fewer.
    best_step_ : int
        Step of the evaluation whose weights are deployed (`is_deployed` of `history_`); 0 when it
        is the base model. The median over folds.
    n_steps_ : int
        Optimizer updates that were made, in all folds, without those that tried a learning rate.
    learning_rate_ : float
        The peak learning rate that was used, the median over folds; NaN when nothing was trained.
    stop_reason_ : str
        "early_stopping", "max_steps", "time_limit", "interrupted", "out of memory",
        "diverged: ...", "no score: ..." (a scorer that returned NaN), "failed: ..." (an exception,
        which `fit` raised), "too few rows", "constant target", "constant columns", or
        what a callback said.
    deployed_weights_ : {"base", "best", "interpolated", "last"}
        What the hold-out spoke for: the base model's weights, those of the best evaluation, or the
        average of the two. Without a hold-out those of the last evaluation, or the base model's
        where the training diverged.
    deployment_reason_ : str
        Why, in a sentence: "a gain of 0.0008 over 70 rows is within luck (0.0021): the base model
        is deployed".
    base_model_ : BaseModel
        Name, path, licence and hash of the base model that was used.
    scoring_ : str
        What the scores are.
    columns_ : Columns
        What each column held in `fit`, by which every later table is read.
    row_hashes_ : ndarray of uint64 of shape (n_rows,)
        A number for each row of `fit`, by which an evaluation knows it again.
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
    *, parameters: str = "", attributes: str = "", example: str
) -> Callable[[type[Estimator]], type[Estimator]]:
    """Complete a class docstring that is one line by the shared parameters and attributes."""

    def complete(estimator: type[Estimator]) -> type[Estimator]:
        estimator.__doc__ = _DOCSTRING.format(
            summary=estimator.__doc__,
            parameters=parameters + PARAMETERS,
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
    signature = inspect.signature(function)
    names = list(signature.parameters)

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
        try:
            signature.bind(*values, **arguments)
        except TypeError as error:
            own = ", ".join(name for name in names if name != "self")
            raise TypeError(f"{called} takes {own}: {error}.") from error
        return function(*values, **arguments)

    return explained  # type: ignore[return-value]


def extending(base: type[Any], without: Sequence[str] = ()) -> Callable[[Called], Called]:
    """Let a constructor have the parameters of its base class as well, in its signature too.

    All but those in `without`.
    """

    def extend(init: Called) -> Called:
        own = inspect.signature(init)
        shared = [
            parameter
            for name, parameter in inspect.signature(base.__init__).parameters.items()
            if name != "self" and name not in without
        ]
        mine = [p for p in own.parameters.values() if p.kind is not p.VAR_KEYWORD]
        init.__signature__ = own.replace(parameters=[*mine, *shared])  # type: ignore[attr-defined]
        return explaining(init)

    return extend


def _unknown_argument(called: str, name: str, names: Sequence[str]) -> str:
    """Return the sentence for an argument that a function does not have."""
    of_an_estimator = "training" in names
    if of_an_estimator and name in ("class_weight", "balanced_contexts"):
        return f"{called} is given {name!r}, which is for classification; leave it out."
    if of_an_estimator and (home := home_of(name)):
        return f"{called} is given {name!r}, which is unknown; did you mean {home}?"
    config = "finetuning_config"
    others = [*Parameters._parameter_constraints, *FLAT_NAMES] if config in names else []
    near = nearest(name, [*names, *others])
    if near in others:
        meant = f"{config}={{{near!r}: ...}}"
        return f"{called} is given {name!r}, which is unknown; did you mean {meant}?"
    return unknown_name(f"{called} is given", name, [other for other in names if other != "self"])


class Parameters(LinksDocumentation, BaseEstimator):
    """Names, defaults and permitted values of the parameters that both estimators have."""

    _parameter_constraints: dict[str, list[Any] | str] = {  # noqa: RUF012 - scikit-learn's name and form
        "base_model": [str, Path],
        "learning_rate": [Interval(Real, 0, 1, closed="neither"), StrOptions({"auto"}), None],
        "tuning": [
            StrOptions({"full", "last_layers", "head", "norm", "lora"}),
            LoRA,
            HasMethods(["to_dict"]),
        ],
        "batch_size": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "max_steps": [Interval(Integral, 0, None, closed="left")],
        "time_limit": [Interval(Real, 0, None, closed="neither"), None],
        "eval_interval": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "patience": [Interval(Integral, 1, None, closed="left"), None],
        "scoring": [str, callable, None],
        "validation": [
            StrOptions({"random", "time"}),
            Interval(RealNotInt, 0, 1, closed="neither"),
            Interval(Integral, 1, None, closed="left"),
            HasMethods(["split", "get_n_splits"]),
            "array-like",
            None,
        ],
        "n_folds": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "n_estimators": [Interval(Integral, 1, None, closed="left")],
        "fit_mode": [StrOptions({"fit_preprocessors", "fit_with_cache"})],
        "context_size": [Interval(Integral, 1, None, closed="left"), None],
        "precision": [StrOptions({"auto", "fp32", "bf16", "fp16"})],
        "categorical_features": ["array-like", None],
        "device": [str, torch.device, list, tuple],
        "random_state": ["random_state"],
        "training": [dict, None],
        "callbacks": [list, tuple, None],
        "loggers": "no_validation",
        "log_dir": [str, Path, None],
        "checkpoint": [str, Path, Checkpoint, None],
        "verbose": ["verbose"],
    }

    @explaining
    def __init__(
        self,
        *,
        base_model: str | Path = "auto",
        learning_rate: float | Literal["auto"] | None = None,
        tuning: Literal["full", "last_layers", "head", "norm", "lora"] | LoRA | Any = "full",
        batch_size: int | Literal["auto"] = "auto",
        max_steps: int = 500,
        time_limit: float | None = None,
        eval_interval: int | Literal["auto"] = "auto",
        patience: int | None = 9,
        scoring: Scoring = None,
        validation: Literal["random", "time"] | float | int | Splitter | Any | None = "random",
        n_folds: int | Literal["auto"] = "auto",
        n_estimators: int = 4,
        fit_mode: Literal["fit_preprocessors", "fit_with_cache"] = "fit_preprocessors",
        context_size: int | None = None,
        precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto",
        categorical_features: Sequence[int] | Sequence[str] | Sequence[bool] | None = None,
        device: str | torch.device | Sequence[str | torch.device] = "auto",
        random_state: int | np.random.RandomState | None = None,
        training: Mapping[str, Any] | None = None,
        callbacks: Sequence[object] | None = None,
        loggers: str | object | Sequence[str | object] | None = None,
        log_dir: str | Path | None = None,
        checkpoint: str | Path | Checkpoint | None = None,
        verbose: bool | int = False,
    ) -> None:
        self.base_model = base_model
        self.learning_rate = learning_rate
        self.tuning = tuning
        self.batch_size = batch_size
        self.max_steps = max_steps
        self.time_limit = time_limit
        self.eval_interval = eval_interval
        self.patience = patience
        self.scoring = scoring
        self.validation = validation
        self.n_folds = n_folds
        self.n_estimators = n_estimators
        self.fit_mode = fit_mode
        self.context_size = context_size
        self.precision = precision
        self.categorical_features = categorical_features
        self.device = device
        self.random_state = random_state
        self.training = training
        self.callbacks = callbacks
        self.loggers = loggers
        self.log_dir = log_dir
        self.checkpoint = checkpoint
        self.verbose = verbose

    def set_params(self, **parameters: Any) -> Parameters:
        """Set parameters by name.

        Parameters
        ----------
        **parameters
            Those of the constructor; ``training__<name>``, ``tuning__<name>`` (of `LoRA`) and
            ``checkpoint__<name>`` set one of several.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For a name that no parameter has; the message says which is the nearest.
        """
        names = list(self.get_params(deep=False))
        whole: dict[str, Any] = {}
        for name, value in parameters.items():
            outer, _, inner = name.partition("__")
            if outer not in names or (inner and outer not in NESTED):
                raise ValueError(unknown_name(f"{type(self).__name__} is given", name, names))
            if inner:
                value = with_one(outer, whole.get(outer, getattr(self, outer)), inner, value)
            whole[outer] = value
        super().set_params(**whole)
        return self

    def settings(self) -> Settings:
        """Return what the fine-tuning of a network reads.

        Returns
        -------
        Settings
        """
        return Settings(
            learning_rate=self.learning_rate,
            tuning=self.tuning,
            batch_size=self.batch_size,
            max_steps=self.max_steps,
            eval_interval=self.eval_interval,
            patience=self.patience,
            precision=self.precision,
            fit_mode=self.fit_mode,
            context_size=self.context_size,
            balanced_contexts=getattr(self, "balanced_contexts", False),
            training=Training(**(self.training or {})),
            callbacks=tuple(self.callbacks or ()),
        )

    def _validate_params(self) -> None:
        """Raise, in one sentence, for what is not permitted or contradicts itself."""
        check_callbacks(self.callbacks)
        permitted = self._parameter_constraints
        check_parameters(permitted, self.get_params(deep=False), type(self).__name__)
        check_nested(self)
        several = self.n_folds != "auto" and self.n_folds > 1
        if self.validation is None and several:
            raise ValueError(
                f"validation=None holds no rows out, which n_folds={self.n_folds} asks for; leave "
                "one of them out."
            )
        if several and not (isinstance(self.validation, str) or hasattr(self.validation, "split")):
            raise ValueError(
                f"n_folds={self.n_folds} holds out 1/{self.n_folds} of the rows in turn, which "
                f"validation={self.validation!r} contradicts; leave one of them out."
            )
