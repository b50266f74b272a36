"""The values of parameters, checked as scikit-learn checks them; but yes and no are no numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils._param_validation import (
    InvalidParameterError,
    make_constraint,
    validate_parameter_constraints,
)

MAY_BE_BOOLS = ("boolean", "verbose", bool)


def check_parameters(
    constraints: Mapping[str, Sequence[Any] | str], values: Mapping[str, Any], caller: str
) -> None:
    """Raise for a value that its parameter does not permit.

    scikit-learn takes True for the number 1, so that ``time_limit=True`` would be one second.

    Parameters
    ----------
    constraints : mapping
        As scikit-learn's estimators hold them in `_parameter_constraints`.
    values : mapping
    caller : str
        Whose parameters they are.

    Raises
    ------
    sklearn.utils._param_validation.InvalidParameterError
        A ValueError that names the parameter, its value and what would do.
    """
    validate_parameter_constraints(dict(constraints), dict(values), caller)
    for name, value in values.items():
        permitted = constraints.get(name, "no_validation")
        if not isinstance(value, (bool, np.bool_)) or permitted == "no_validation":
            continue
        if not any(one in MAY_BE_BOOLS for one in permitted if isinstance(one, (str, type))):
            would_do = [str(make_constraint(one)) for one in permitted]
            *others, last = would_do
            wanted = f"{', '.join(others)} or {last}" if others else last
            raise InvalidParameterError(
                f"The {name!r} parameter of {caller} must be {wanted}. Got {value!r} instead."
            )


def is_whole(value: Any, least: int) -> bool:
    """Tell whether a value is a whole number, Python's or numpy's, from `least` on."""
    return isinstance(value, Integral) and is_number(value) and int(value) >= least


def is_number(value: Any) -> bool:
    """Tell whether a value is a number, Python's or numpy's."""
    return isinstance(value, Real) and not isinstance(value, (bool, np.bool_))
