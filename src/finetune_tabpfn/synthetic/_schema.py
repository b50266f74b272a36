"""A table in words: its columns, how they hang together, and what the target depends on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.api.types import pandas_dtype

from finetune_tabpfn.synthetic._distributions import DISTRIBUTIONS, parameters_of
from finetune_tabpfn.utils._optional import require

# what a type knows besides its distribution's parameters, and whether it has to be given
TYPES: dict[str, dict[str, bool]] = {
    "numeric": {"decimals": False},
    "integer": {},
    "datetime": {"freq": False},
    "categorical": {"categories": True},
    "boolean": {"true_share": False},
    "text": {"words": False},
    "identifier": {},
}
DISTRIBUTIONS_OF = {
    "numeric": tuple(DISTRIBUTIONS),
    "integer": tuple(DISTRIBUTIONS),
    "datetime": ("uniform", "quantiles"),
}
TARGET_TYPES = ("numeric", "integer", "categorical", "boolean")
OTHER = "other"  # what rare categories of a real table become
FREQUENCIES = ("D", "h", "min", "s")
ANY = (-1e300, 1e300)
POSITIVE = (1e-300, 1e300)
RANGES = {
    "missing_share": (0.0, 1.0),
    "the correlation": (-1.0, 1.0),
    "true_share": (0.0, 1.0),
    "decimals": (0, 15),
    "words": (1, 1000),
    "noise": (0.0, 1e300),
    "seed": (0, 2**63),
    **dict.fromkeys(("std", "scale", "df", "rate"), POSITIVE),
}


@dataclass(frozen=True)
class Column:
    """One column: its type and its distribution.

    Parameters
    ----------
    name : str
    type : {"numeric", "integer", "datetime", "categorical", "boolean", "text", "identifier"}
    distribution : str, default=None
        Of numbers, one of `DISTRIBUTIONS`; of dates, "uniform" or "quantiles".
    parameters : mapping
        Those of the distribution, and of the type: `decimals`, `freq` ("D", "h", "min", "s"),
        `categories` (label to share, in the order that correlations and effects follow),
        `true_share`, `words` (mean number).
    missing_share : float, default=0.0
        Share of the cells that are missing, completely at random.
    dtype : str, default=None
        Of pandas, where it is not the usual one of the type: "float32", "Int64", or "str" for
        categories and dates that are text.
    """

    name: str
    type: str
    distribution: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    missing_share: float = 0.0
    dtype: str | None = None

    def __post_init__(self) -> None:
        """Check the parameters."""
        where = f"column {self.name!r}"
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(f"The name of a column must be text. Got {self.name!r} instead.")
        _check_one_of(self.type, TYPES, f"type of {where}")
        _check_number("missing_share", self.missing_share, where)
        if self.type in DISTRIBUTIONS_OF:
            known = DISTRIBUTIONS_OF[self.type]
            _check_one_of(self.distribution, known, f"distribution of {where}")
        elif self.distribution is not None:
            raise ValueError(f"distribution of {where} does not go with its type {self.type}.")
        _check_dtype(self.dtype, self.type, where)
        allowed = dict(TYPES[self.type])
        if self.distribution is not None:
            allowed |= parameters_of(self.distribution)
        for name, required in allowed.items():
            if required and name not in self.parameters:
                raise ValueError(f"{where} lacks {name}.")
        for name, value in self.numbers().items():
            _check_one_of(name, allowed, f"a parameter of {where}")
            if name == "values" and self.distribution == "quantiles":
                _check_quantiles(value, where)
            elif name in ("categories", "values"):
                _check_shares(name, value, where)
            elif name == "freq":
                _check_one_of(value, FREQUENCIES, f"freq of {where}")
            else:
                _check_number(name, value, where)
        if self.distribution == "uniform" and self.numbers()["low"] >= self.numbers()["high"]:
            raise ValueError(f"low of {where} must be below its high.")

    @property
    def ordered(self) -> bool:
        """Whether its values have an order that correlations and effects can follow."""
        return self.type not in ("text", "identifier")

    def numbers(self) -> dict[str, Any]:
        """Return the parameters, with dates as seconds since 1970."""
        if self.type != "datetime":
            return dict(self.parameters)
        return {
            name: value if name == "freq" else _seconds(value, f"{name} of column {self.name!r}")
            for name, value in self.parameters.items()
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the column as a flat mapping."""
        rest = {name: getattr(self, name) for name in ("distribution", "missing_share", "dtype")}
        given = {name: value for name, value in rest.items() if value}
        return {"name": self.name, "type": self.type, **given, **self.parameters}

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Column:
        """Read what `to_dict` writes."""
        if not isinstance(given, Mapping) or not {"name", "type"} <= set(given):
            raise ValueError(f"A column must be a mapping with name and type. Got {given!r}.")
        named = {item.name for item in fields(cls)} - {"parameters"}
        return cls(
            **{name: value for name, value in given.items() if name in named},
            parameters={name: value for name, value in given.items() if name not in named},
        )


@dataclass(frozen=True)
class Target:
    """What is to be predicted, and from what.

    Parameters
    ----------
    column : Column
        Numbers make a regression, categories and booleans a classification.
    effects : mapping, default=None
        Column name to coefficient: the score of a row is the sum over the columns of the
        coefficient times the column's normal score, plus the noise; a missing cell adds
        nothing. The highest scores get the
        highest numbers, or the last of the categories. For more than two classes also class to
        such a mapping: from the last class to the second, each takes the rows that score
        highest for it, and the first keeps the rest. None: random functions as in `make_table`.
    noise : float, default=0.5
        Standard deviation of the noise.
    seed : int, default=0
        Of the random functions.
    """

    column: Column
    effects: Mapping[Any, Any] | None = None
    noise: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the parameters that need no other column."""
        _check_one_of(self.column.type, TARGET_TYPES, "type of the target")
        if self.column.missing_share:
            raise ValueError("missing_share of the target must be 0: fit needs every label.")
        _check_number("noise", self.noise, "the target")
        _check_number("seed", self.seed, "the target")
        if self.effects is not None and not isinstance(self.effects, Mapping):
            raise ValueError(f"effects of the target must be a mapping. Got {self.effects!r}.")

    @property
    def classes(self) -> dict[Any, float]:
        """Classes with their shares; none for a number."""
        if self.column.type == "boolean":
            share = self.column.parameters.get("true_share", 0.5)
            return {False: 1 - share, True: share}
        return dict(self.column.parameters.get("categories", {}))

    @property
    def per_class(self) -> bool:
        """Whether each class has effects of its own."""
        return any(isinstance(effects, Mapping) for effects in (self.effects or {}).values())

    def effects_of(self, code: int) -> Mapping[str, float] | None:
        """Return the effects of a class by its number; None for a random function."""
        return self.effects and self.effects.get(list(self.classes)[code], {})

    def check_effects(self, names: Iterable[str]) -> None:
        """Raise for effects of what is no class, or no column among `names`."""
        effects = self.effects or {}
        if self.per_class and len(self.classes) < 3:
            raise ValueError("effects of the target must be for columns, not for each class.")
        for label in effects if self.per_class else ():
            _check_one_of(label, list(self.classes)[1:], "a class in effects of the target")
        for part in effects.values() if self.per_class else [effects]:
            if not isinstance(part, Mapping):
                raise ValueError("effects of the target must be for columns, or for each class.")
            for name, effect in part.items():
                _check_one_of(name, names, "a column in effects of the target")
                _check_number("the effect", effect, f"column {name!r} on the target")

    def to_dict(self) -> dict[str, Any]:
        """Return the target as a flat mapping."""
        dependence = {"seed": self.seed} if self.effects is None else {"effects": self.effects}
        return {**self.column.to_dict(), "noise": self.noise, **dependence}

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Target:
        """Read what `to_dict` writes."""
        own = {name: given[name] for name in ("effects", "noise", "seed") if name in given}
        column = {name: value for name, value in given.items() if name not in own}
        return cls(Column.from_dict(column), **own)


@dataclass(frozen=True)
class Schema:
    """A table in words; docs/synthetic.md describes the format.

    Parameters
    ----------
    columns : tuple of Column
    target : Target, default=None
    correlation : tuple of (str, str, float)
        Two columns and the correlation of the normal variables behind them, which is their rank
        correlation up to 0.02 where values do not repeat. Other pairs are uncorrelated. What is
        no valid correlation matrix is replaced by a near one.
    """

    columns: tuple[Column, ...]
    target: Target | None = None
    correlation: tuple[tuple[str, str, float], ...] = ()

    def __post_init__(self) -> None:
        """Check how the parts fit together."""
        names = [column.name for column in self.columns]
        every = sorted([*names, self.target.column.name] if self.target else names)
        for first, second in pairwise(every):
            if first == second:
                raise ValueError(f"There are two columns of the name {first!r}.")
        ordered = [column.name for column in self.columns if column.ordered]
        for left, right, value in self.correlation:
            _check_one_of(left, ordered, "a column in correlation")
            _check_one_of(right, ordered, "a column in correlation")
            if left == right:
                raise ValueError(f"correlation must hold pairs of columns. Got {left!r} twice.")
            _check_number("the correlation", value, f"columns {left!r} and {right!r}")
        if self.target is not None:
            self.target.check_effects(ordered)

    def to_dict(self) -> dict[str, Any]:
        """Return the schema as mappings, lists, texts and numbers.

        Returns
        -------
        dict
        """
        parts: dict[str, Any] = {"columns": [column.to_dict() for column in self.columns]}
        if self.correlation:
            parts["correlation"] = [list(pair) for pair in self.correlation]
        if self.target is not None:
            parts["target"] = self.target.to_dict()
        return parts

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Schema:
        """Read what `to_dict` writes, or what a person wrote.

        Parameters
        ----------
        given : mapping

        Returns
        -------
        Schema

        Raises
        ------
        ValueError
            In one sentence, with the name of the column.
        """
        columns = given.get("columns") if isinstance(given, Mapping) else None
        if not isinstance(columns, list) or not columns:
            raise ValueError("A schema must be a mapping with a list of columns.")
        for name in given:
            _check_one_of(name, ["columns", "correlation", "target"], "a part of a schema")
        pairs = given.get("correlation") or []
        for pair in pairs:
            if not isinstance(pair, (list, tuple)) or len(pair) != 3:
                raise ValueError(f"correlation must hold [column, column, number]. Got {pair!r}.")
        target = given.get("target")
        return cls(
            tuple(Column.from_dict(column) for column in columns),
            None if target is None else Target.from_dict(target),
            tuple((left, right, value) for left, right, value in pairs),
        )

    def to_yaml(self, path: str | Path | None = None) -> str:
        """Return the schema as YAML, and write it to a file if one is given.

        Parameters
        ----------
        path : str or pathlib.Path, optional

        Returns
        -------
        str
        """
        yaml = require("yaml", "a schema as YAML" if path is None else str(path))
        text: str = yaml.safe_dump(
            self.to_dict(), sort_keys=False, default_flow_style=None, allow_unicode=True, width=100
        )
        if path is not None:
            Path(path).write_text(text, encoding="utf-8")
        return text

    @classmethod
    def from_yaml(cls, path: str | Path) -> Schema:
        """Read a schema from a file.

        Parameters
        ----------
        path : str or pathlib.Path

        Returns
        -------
        Schema
        """
        yaml = require("yaml", str(path))
        try:
            given = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"{path} cannot be read as YAML: {reason}") from error
        return cls.from_dict(given)


def _check_one_of(value: Any, known: Iterable[Any], what: str) -> None:
    """Raise unless a value is known."""
    known = list(known)
    if value not in known:
        choices = ", ".join(map(str, known))
        raise ValueError(f"{what} must be one of: {choices}. Got {value!r} instead.")


def _check_number(name: str, value: Any, where: str) -> None:
    """Raise unless a value is a number in the range that its name has."""
    low, high = RANGES.get(name, ANY)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        bounds = {ANY: "", POSITIVE: " above 0"}.get((low, high), f" from {low} to {high}")
        raise ValueError(f"{name} of {where} must be a number{bounds}. Got {value!r} instead.")


def _check_dtype(dtype: Any, kind: str, where: str) -> None:
    """Raise unless pandas has such a type, and text only where the column can be text."""
    allowed = kind in (("categorical", "datetime") if dtype == "str" else TARGET_TYPES)
    try:
        known = dtype == "str" or pandas_dtype(dtype)
    except TypeError:
        known = False
    if dtype is not None and not (allowed and known):
        raise ValueError(f"dtype of {where} must be one of pandas for {kind}. Got {dtype!r}.")


def _check_quantiles(values: Any, where: str) -> None:
    """Raise unless `values` are ascending numbers."""
    if not isinstance(values, (list, tuple)) or not values or list(values) != sorted(values):
        raise ValueError(f"values of {where} must be a list in ascending order. Got {values!r}.")
    for value in values:
        _check_number("each of the values", value, where)


def _check_shares(name: str, shares: Any, where: str) -> None:
    """Raise unless `shares` maps outcomes to shares that add up to 1."""
    if not isinstance(shares, Mapping) or not shares:
        raise ValueError(f"{name} of {where} must map each one to its share. Got {shares!r}.")
    for outcome, share in shares.items():
        if isinstance(outcome, bool):
            raise ValueError(
                f"{name} of {where} hold {outcome}; put yes, no, on and off in quotes, or use the "
                "type boolean."
            )
        if name == "values":
            _check_number("each of the values", outcome, where)
        _check_number("missing_share", share, where)
    if abs(sum(shares.values()) - 1) > 0.01:
        total = sum(shares.values())
        raise ValueError(f"{name} of {where} must have shares that add up to 1, not {total:.4g}.")


def _seconds(value: Any, what: str) -> Any:
    """Return dates as seconds since 1970."""
    if isinstance(value, (list, tuple)):
        return [_seconds(one, what) for one in value]
    try:
        return pd.Timestamp(value).timestamp()
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what} must be a date. Got {value!r} instead.") from error
