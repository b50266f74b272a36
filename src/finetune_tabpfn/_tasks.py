"""What differs between classification and regression: the targets.

A task turns the user's target into numbers, and the targets of a split into what the network is
shown and asked. Shape letters: N context rows, Q query rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

import numpy as np
import numpy.typing as npt
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets

from finetune_tabpfn._losses import IGNORED
from finetune_tabpfn.data._sampling import Indices, target_bins
from finetune_tabpfn.utils._constraints import is_number
from finetune_tabpfn.utils._warn import warn

Kind = Literal["classification", "regression"]


@dataclass(frozen=True)
class SplitTargets:
    """Targets of one split.

    Attributes
    ----------
    context : ndarray of shape (N,)
    query : ndarray of shape (Q,)
    offset : ndarray of shape (n_classes,), optional
        What is added to the logit of each code.
    """

    context: npt.NDArray[np.float32]
    query: npt.NDArray[np.float32]
    offset: npt.NDArray[np.float32] | None = None


class Task(Protocol):
    """What the walk of a fit asks of a task."""

    @property
    def kind(self) -> Kind:
        """What TabPFN calls it."""
        ...

    @property
    def loss(self) -> str:
        """The name of what training minimises, among `LOSSES`."""
        ...

    @property
    def default_scoring(self) -> str:
        """The name of the scorer to use when the user names none."""
        ...

    def strata(self, y: npt.NDArray[Any]) -> Indices:
        """Return the strata by which the hold-out is drawn, shape (n_rows,)."""
        ...

    def check_network(self, max_classes: int, name: str) -> None:
        """Raise ValueError when a base model cannot serve the task."""
        ...

    def among(self, y: npt.NDArray[Any]) -> Task:
        """Return the task of a part of the rows."""
        ...

    def encode(self, y: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Return the target as numbers, shape (n_rows,)."""
        ...

    def split_targets(
        self, context: npt.NDArray[np.float32], query: npt.NDArray[np.float32], seed: int
    ) -> SplitTargets:
        """Return the targets of one split as it shows and asks them."""
        ...

    def row_weights(
        self, y: npt.NDArray[Any], weight: npt.NDArray[np.float64] | None
    ) -> npt.NDArray[np.float64] | None:
        """Return the weights of rows in the loss and in the score, from the user's own."""
        ...

    def decide(self, predictions: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the predictions of the network as the user asked for them."""
        ...


class Classification:
    """Classes, coded by their place in `classes`.

    Parameters
    ----------
    classes : ndarray of shape (n_classes,)
        Sorted labels.
    weights : ndarray of shape (n_classes,), optional
        What an error on a class costs. A network that minimises the cross-entropy weighted so
        predicts probabilities in proportion to the weights times the true ones (Bayes); hence
        they are put there: as an offset to the logits in the loss, whose rows are weighted, and
        as factors of the predicted probabilities. The network need not learn them.
    """

    kind: Final = "classification"
    loss: Final = "cross_entropy"
    default_scoring = "neg_log_loss"

    def __init__(
        self, classes: npt.NDArray[Any], weights: npt.NDArray[np.float64] | None = None
    ) -> None:
        self.classes, self.weights = classes, weights

    @classmethod
    def of(
        cls, y: npt.NDArray[Any], class_weight: Mapping[Any, float] | str | None = None
    ) -> Classification:
        """Return the task of a target; one sentence for a target that holds no classes."""
        try:
            classes = np.unique(y)
        except TypeError as error:
            raise ValueError(f"y mixes labels that cannot be sorted: {error}.") from error
        check_classification_targets(y)
        if len(classes) < 2:
            raise ValueError(
                f"y holds a single class ({classes.tolist()[0]!r}); a classifier needs two or more."
            )
        if class_weight is None:
            return cls(classes)
        if isinstance(class_weight, Mapping):
            weights = _weights_by_class(class_weight, classes)
        else:
            weights = compute_class_weight(class_weight, classes=classes, y=y)
        if not (np.isfinite(weights).all() and (weights > 0).all()):
            raise ValueError(f"class_weight={class_weight!r} must hold positive numbers.")
        return cls(classes, weights)

    def among(self, y: npt.NDArray[Any]) -> Classification:
        """Return the task of the classes that a part of the rows holds."""
        held = np.isin(self.classes, y)
        return Classification(
            self.classes[held], None if self.weights is None else self.weights[held]
        )

    def strata(self, y: npt.NDArray[Any]) -> Indices:
        """Return the class codes."""
        return np.searchsorted(self.classes, y).astype(np.int64)

    def check_network(self, max_classes: int, name: str) -> None:
        """Raise ValueError when there are more classes than the base model can tell apart."""
        if len(self.classes) > max_classes:
            raise ValueError(
                f"y holds {len(self.classes)} classes ({_some(self.classes)}), but "
                f"base_model={name!r} can tell at most "
                f'{max_classes} apart; base_model="v3" and "v3.5" can tell 160.'
            )

    def encode(self, y: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Return the class codes as the numbers that the network reads."""
        return self.strata(y).astype(np.float32)

    def split_targets(
        self, context: npt.NDArray[np.float32], query: npt.NDArray[np.float32], seed: int
    ) -> SplitTargets:
        """Recode the classes of the context to a random order of 0 ... K-1.

        The networks expect dense codes in the context. A query row of a class that the context
        lacks cannot be answered and is `IGNORED`. Without the random order a small network
        memorises which code means what in this table instead of reading the context.
        """
        present = np.unique(context).astype(np.int64)
        code = np.full(len(self.classes), IGNORED, dtype=np.float32)
        code[present] = np.random.default_rng(seed).permutation(len(present))
        offset = None
        if self.weights is not None:
            offset = np.zeros(len(self.classes), dtype=np.float32)
            offset[code[present].astype(np.int64)] = np.log(self.weights[present])
        return SplitTargets(code[context.astype(np.int64)], code[query.astype(np.int64)], offset)

    def row_weights(
        self, y: npt.NDArray[Any], weight: npt.NDArray[np.float64] | None
    ) -> npt.NDArray[np.float64] | None:
        """Return the weights of the rows' classes, times the user's own."""
        if self.weights is None:
            return weight
        of_classes = self.weights[self.strata(y)]
        return of_classes if weight is None else of_classes * weight

    def decide(self, predictions: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Weigh probabilities of shape (n_rows, n_classes) by the class weights."""
        if self.weights is None:
            return predictions
        weighted = predictions * self.weights
        return weighted / weighted.sum(axis=1, keepdims=True)


def task_of(
    kind: Kind,
    y: npt.NDArray[Any],
    y_val: npt.NDArray[Any] | None = None,
    class_weight: Mapping[Any, float] | str | None = None,
) -> Task:
    """Return the task of a target.

    Parameters
    ----------
    kind : {"classification", "regression"}
    y : ndarray of shape (n_rows,)
    y_val : ndarray of shape (n_val_rows,), optional
        Of the user's own rows to validate on.
    class_weight : mapping or "balanced", optional

    Raises
    ------
    ValueError
        For a target that holds no classes, or a label to validate on that no row to learn from has.
    """
    if kind == "regression":
        return Regression()
    task = Classification.of(y, class_weight)
    _warn_of_spellings(task.classes)
    unseen = np.empty(0) if y_val is None else np.setdiff1d(y_val, task.classes)
    if len(unseen):
        raise ValueError(
            f"y_val holds the label {unseen.tolist()[0]!r}, which y does not; every label to "
            "validate on needs training rows."
        )
    return task


def _some(classes: npt.NDArray[Any]) -> str:
    return ", ".join(map(repr, classes[:3].tolist())) + (", ..." if len(classes) > 3 else "")


def _warn_of_spellings(classes: npt.NDArray[Any]) -> None:
    """Warn of labels that differ by blanks or capitals alone: most likely they mean the same."""
    by_word: dict[str, list[str]] = {}
    for label in classes.tolist():
        if isinstance(label, str):
            by_word.setdefault(" ".join(label.split()).casefold(), []).append(label)
    twice = next((labels for labels in by_word.values() if len(labels) > 1), None)
    if twice:
        warn(
            f"y holds {' and '.join(map(repr, twice))}, which differ by blanks or capitals alone; "
            "they are taken for different classes."
        )


def _weights_by_class(
    given: Mapping[Any, float], classes: npt.NDArray[Any]
) -> npt.NDArray[np.float64]:
    """Return the weights of classes: of a key's own value, else of what is written like it.

    The keys of JSON are always text, and those of a YAML file often numbers where the labels are
    text. Classes that are not named weigh 1. scikit-learn takes every key for a number that can be
    one, so that "01" and "1" are the same class to it.
    """
    if not all(is_number(weight) for weight in given.values()):
        raise ValueError(f"class_weight={dict(given)!r} must hold positive numbers.")
    labels, found = classes.tolist(), {}
    for key, weight in given.items():
        same = [label for label in labels if key == label]
        same = same or [label for label in labels if _written_alike(key, label)]
        if len(same) != 1 or same[0] in found:
            problem = "names one class twice" if same else "is not a class of y"
            some = ", ".join(map(repr, labels[:20])) + (", ..." if len(labels) > 20 else "")
            raise ValueError(
                f"class_weight={dict(given)!r}: the key {key!r} {problem}; the classes are {some}."
            )
        found[same[0]] = weight
    return np.array([found.get(label, 1.0) for label in labels], dtype=np.float64)


def _written_alike(key: Any, label: Any) -> bool:
    if isinstance(label, bool) or isinstance(key, bool):
        return str(key).lower() == str(label).lower()
    if isinstance(label, (int, float)):
        try:
            return float(key) == label
        except (TypeError, ValueError):
            return False
    return str(key) == str(label)


class Regression:
    """A real-valued target, predicted as a distribution over buckets."""

    kind: Final = "regression"
    loss: Final = "negative_log_density"
    default_scoring = "neg_root_mean_squared_error"

    def strata(self, y: npt.NDArray[Any]) -> Indices:
        """Return the decile of each row."""
        return target_bins(y)

    def check_network(self, max_classes: int, name: str) -> None:
        """Accept any network: what it was loaded with has a distribution."""

    def encode(self, y: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Standardise, as TabPFN does before its own target transforms."""
        return ((y - y.mean()) / y.std()).astype(np.float32)

    def among(self, y: npt.NDArray[Any]) -> Regression:
        """Return the task of a part of the rows."""
        return Regression()

    def split_targets(
        self, context: npt.NDArray[np.float32], query: npt.NDArray[np.float32], seed: int
    ) -> SplitTargets:
        """Standardise by the context, as TabPFN would if these were all its rows."""
        mean, std = context.mean(), context.std()
        std = std if std > 0 else np.float32(1)
        return SplitTargets((context - mean) / std, (query - mean) / std)

    def row_weights(
        self, y: npt.NDArray[Any], weight: npt.NDArray[np.float64] | None
    ) -> npt.NDArray[np.float64] | None:
        """Return the user's own weights."""
        return weight

    def decide(self, predictions: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the means as they are."""
        return predictions
