"""The file that the command line reads its options from, made of the one list of parameters.

``python -m finetune_tabpfn.runs._options_file`` writes it again when a parameter has changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic.fields import FieldInfo

from finetune_tabpfn.forecasting._forecaster import OWN_PARAMETERS, FinetunedTabPFNForecaster
from finetune_tabpfn.runs._config import sections
from finetune_tabpfn.runs._fields import fields_of, option_of, settings_of_estimators
from finetune_tabpfn.runs._options import OPTIONS_FILE
from finetune_tabpfn.studies._experiment_plan import OF_THE_STUDY
from finetune_tabpfn.synthetic._tables import CONSTRAINTS, make_table
from finetune_tabpfn.utils._files import save_whole
from finetune_tabpfn.utils._text import to_json


def made() -> str:
    """Return what the file has to hold."""
    estimators = settings_of_estimators()
    forecasts = fields_of(FinetunedTabPFNForecaster)
    content = {
        "estimators": _plain(estimators),
        "forecasts": _plain({name: forecasts[name] for name in OWN_PARAMETERS}),
        "studies": [name for name in estimators if name not in OF_THE_STUDY],
        "tables": _plain(fields_of(make_table, CONSTRAINTS)),
        "runs": {section: _plain(fields) for section, fields in sections().items()},
    }
    return to_json(content) + "\n"


def _plain(fields: Mapping[str, FieldInfo]) -> dict[str, dict[str, Any]]:
    found = {}
    for name, field in fields.items():
        option = option_of(name, field)
        found[name] = {
            "description": option.description,
            "schema": option.schema,
            **({"is_required": True} if option.is_required else {"default": option.default}),
        }
    return found


if __name__ == "__main__":
    save_whole(OPTIONS_FILE, lambda part: part.write_text(made(), encoding="utf-8"))
