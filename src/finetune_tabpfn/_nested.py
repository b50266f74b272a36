"""Parameters that hold several settings: one by one in `set_params`, by flat names in files.

A file or an option has no objects: there every setting has a name of its own, such as
``ema_decay``, ``lora_rank`` or ``checkpoint_every``.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any

from finetune_tabpfn.finetuning._lora import check_peft_config
from finetune_tabpfn.finetuning._settings import Checkpoint, LoRA, Training
from finetune_tabpfn.utils._constraints import check_parameters
from finetune_tabpfn.utils._text import unknown_name

# the parameter, and what its settings are called where each has a name of its own
NESTED: dict[str, tuple[type[Any], dict[str, str]]] = {
    "training": (Training, {field.name: field.name for field in dataclasses.fields(Training)}),
    "tuning": (LoRA, {field.name: f"lora_{field.name}" for field in dataclasses.fields(LoRA)}),
    "checkpoint": (Checkpoint, {"every": "checkpoint_every", "resume": "resume"}),
}
FLAT_NAMES = [long for _, names in NESTED.values() for long in names.values()]


def check_nested(estimator: Any) -> None:
    """Raise, in one sentence, for a setting that is unknown or not permitted."""
    caller = type(estimator).__name__
    given = dict(estimator.training or {})
    known = NESTED["training"][1]
    for name in given:
        if name not in known:
            raise ValueError(unknown_name(f"training of {caller} holds", name, known))
    found: list[Any] = [Training(**given), estimator.tuning, estimator.checkpoint]
    for settings in found:
        if isinstance(settings, (Training, LoRA, Checkpoint)):
            permitted = settings._parameter_constraints
            check_parameters(permitted, _values(settings), type(settings).__name__)
    if hasattr(estimator.tuning, "to_dict"):
        check_peft_config(estimator.tuning)


def with_one(name: str, value: Any, setting: str, new: Any) -> Any:
    """Return the value of a nested parameter with one of its settings changed.

    Parameters
    ----------
    name : {"training", "tuning", "checkpoint"}
    value : object
        As it is.
    setting : str
        "ema_decay", say.
    new : object
    """
    kind, _ = NESTED[name]
    known = [field.name for field in dataclasses.fields(kind)]
    if setting not in known:
        raise ValueError(unknown_name(f"{name} is given", setting, known))
    if kind is Training:
        return {**(value or {}), setting: new}
    if kind is LoRA:
        settings = value if isinstance(value, LoRA) else LoRA()
        return dataclasses.replace(settings, **{setting: new})
    if isinstance(value, Checkpoint):
        return dataclasses.replace(value, **{setting: new})
    return Checkpoint(**{"folder": value, setting: new})


def home_of(name: str) -> str | None:
    """Return how a setting that has a name of its own in files is given to a constructor."""
    for parameter, (kind, names) in NESTED.items():
        for short, long in names.items():
            if name == long:
                if kind is Training:
                    return f"training={{{short!r}: ...}}"
                folder = "folder, " if kind is Checkpoint else ""
                return f"{parameter}={kind.__name__}({folder}{short}=...)"
    return "patience=None" if name == "early_stopping" else None


def flat(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of an estimator with a name for every setting.

    Parameters
    ----------
    parameters : mapping
        As `get_params(deep=False)` returns them.
    """
    found = dict(parameters)
    training = {**_values(Training()), **(found.pop("training") or {})}
    tuning, checkpoint = found["tuning"], found["checkpoint"]
    if isinstance(tuning, LoRA):
        found["tuning"] = "lora"
    lora = _values(tuning if isinstance(tuning, LoRA) else LoRA())
    if not isinstance(checkpoint, Checkpoint):
        checkpoint = Checkpoint(checkpoint)
    found["checkpoint"] = checkpoint.folder
    return {
        **found,
        **training,
        **{NESTED["tuning"][1][name]: value for name, value in lora.items()},
        "checkpoint_every": checkpoint.every,
        "resume": checkpoint.resume,
    }


def assemble(settings: Mapping[str, Any], estimator: type[Any]) -> dict[str, Any]:
    """Return the parameters of an estimator from settings that each have a name of their own.

    Parameters
    ----------
    settings : mapping
        Nested parameters may be given as they are as well. What has its default value is left out.
    estimator : type
        That they are for.

    Raises
    ------
    ValueError
        For a setting without the parameter that it belongs to.
    """
    own = inspect.signature(estimator).parameters
    found = dict(settings)
    for name, (kind, flat_names) in NESTED.items():
        defaults = _values(kind() if kind is not Checkpoint else Checkpoint(""))
        inner = {
            short: found.pop(long)
            for short, long in flat_names.items()
            if long in found and (long == short or long not in own)
        }
        inner = {short: value for short, value in inner.items() if value != defaults[short]}
        if inner:
            found[name] = _nested(name, found.get(name), inner, flat_names)
    for name in ("class_weight", "balanced_contexts"):  # of classifiers alone
        if name in found and name not in own:
            value = found.pop(name)
            if value not in (None, False):
                raise ValueError(f"{name}={value!r} is for classification; leave it out.")
    return found


def _nested(name: str, value: Any, inner: dict[str, Any], flat_names: dict[str, str]) -> Any:
    """Return the value of a nested parameter with settings put into it."""
    first = next(iter(inner))
    said = f"{flat_names[first]}={inner[first]!r}"
    if name == "tuning" and not (value == "lora" or isinstance(value, LoRA)):
        raise ValueError(f'{said} is for tuning="lora", not for tuning={value or "full"!r}.')
    if name == "checkpoint" and value is None:
        raise ValueError(f"{said} needs the folder of the checkpoints: checkpoint=FOLDER.")
    for setting, new in inner.items():
        value = with_one(name, value, setting, new)
    return value


def _values(settings: Any) -> dict[str, Any]:
    """Return the settings of a dataclass by name."""
    return {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
