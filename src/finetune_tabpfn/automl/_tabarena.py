"""Fine-tuned TabPFN as a model of TabArena."""

from __future__ import annotations

from typing import Any

from autogluon.common.space import Categorical, Int, Real, Space
from tabarena.models import register_model_info
from tabarena.models._method_metadata import ModelDescriptor
from tabarena.models._model_info import ModelInfo
from tabarena.utils.config_utils import ConfigGenerator

from finetune_tabpfn.automl._autogluon import FinetunedTabPFNModel
from finetune_tabpfn.studies._search_space import Range, search_space


def tabarena_entry(base_model: str = "auto", **parameters: Any) -> ModelInfo:
    """Return fine-tuned TabPFN as TabArena lists a model, and register it there.

    Parameters
    ----------
    base_model : str
        The network that every configuration starts from; the range of learning rates is its.
    **parameters
        Of the estimators, for every configuration, by the names that files and studies have.

    Returns
    -------
    ModelInfo
        `search_space` is the `ConfigGenerator`: the first configuration has the defaults, the
        others are drawn from the search space of `finetune_tabpfn.studies`.

    Examples
    --------
    >>> from finetune_tabpfn.automl import tabarena_entry  # doctest: +SKIP
    >>> entry = tabarena_entry("mini")  # doctest: +SKIP
    >>> experiments = entry.search_space.generate_all_bag_experiments(25)  # doctest: +SKIP
    """
    fixed = {"base_model": base_model, **parameters}
    # one space serves all tasks: what is for classification alone is left out
    space = search_space("regression", base_model)
    open_ = {name: _space(values) for name, values in space.items() if name not in fixed}
    name = FinetunedTabPFNModel.ag_name
    entry = ModelInfo(
        model_cls=FinetunedTabPFNModel,
        search_space=ConfigGenerator(
            # a value of its own in every drawn configuration, the only one
            search_space={**open_, **{key: Categorical(value) for key, value in fixed.items()}},
            model_cls=FinetunedTabPFNModel,
            manual_configs=[fixed],
        ),
        method_metadata=ModelDescriptor(
            display_name=name, compute="cpu", is_bag=True
        ).method_metadata(
            method=name, ag_key=FinetunedTabPFNModel.ag_key, config_default=f"{name}_c1_BAG_L1"
        ),
        pip_extra=("finetune-tabpfn",),
    )
    register_model_info(entry)
    return entry


def _space(values: Any) -> Space:
    """Return a list of values or a `Range` as AutoGluon searches it."""
    if not isinstance(values, Range):
        return Categorical(*values)
    return (Int if values.is_whole else Real)(values.low, values.high, log=values.log)
