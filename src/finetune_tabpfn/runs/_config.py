"""A run in one YAML file: its sections, inheritance, overrides, checks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema

from finetune_tabpfn.forecasting._forecaster import OWN_PARAMETERS, FinetunedTabPFNForecaster
from finetune_tabpfn.runs._fields import fields_of, settings_of_estimators
from finetune_tabpfn.runs._options import in_words
from finetune_tabpfn.utils._text import unknown_name
from finetune_tabpfn.utils._yaml import read_yaml, to_yaml

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Settings = dict[str, dict[str, Any]]  # by section and name

INHERIT = "defaults"
LEFT_OUT = ("log_dir",)  # of the parameters: a run's own folder
PARAMETERS: dict[str, Any] = settings_of_estimators()


class Section(BaseModel):
    """Keys that belong together: these alone, and true is no number."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Data(Section):
    """The tables of a run."""

    path: str = Field(
        description="The table to learn from: CSV, Parquet or JSON (records or lines)."
    )
    target: str = Field(description="Name of the column to predict.")
    task: Literal["auto", "classification", "regression", "forecasting"] = Field(
        "auto",
        description='"auto": text, booleans and whole numbers of at most 20 values are classes. '
        '"forecasting" needs the section of that name.',
    )
    test_path: str | None = Field(
        None,
        description="Labelled rows to test base model and fine-tuned model on; nothing else sees "
        "them.",
    )
    test_fraction: float = Field(
        0.2,
        ge=0,
        lt=1,
        description="Without `test_path`, the share of the rows to keep for the test: stratified, "
        'whole groups, or the last rows where `validation` is "time". 0 keeps none.',
    )
    validation_path: str | None = Field(
        None,
        description="Labelled rows to validate on; without it, `finetuning.validation` says which "
        "are held out.",
    )
    missing_values: list = Field(
        [],
        description="Cells of the files that stand for missing ones, beside blank ones, such as "
        '[NA, "?"].',
    )
    drop: list = Field([], description="Columns to leave out.")
    group: str | None = Field(
        None, description="Column of groups that are never separated; no feature."
    )
    weight: str | None = Field(None, description="Column of the rows' weights; no feature.")


class Base(Section):
    """The pretrained network."""

    base_model: str = PARAMETERS["base_model"]


class Logging(Section):
    """What a run tells while it goes on."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "WARNING",
        description='Of the messages on standard error; "INFO" is a line per evaluation.',
    )
    loggers: list | str | None = PARAMETERS["loggers"]


class Output(Section):
    """Where a run leaves its results."""

    folder: str = Field(
        "runs", description="A run writes into ``folder/experiment/<time>/`` and nowhere else."
    )
    experiment: str | None = Field(None, description="None is the name of the configuration file.")
    best_by: Literal["hold-out", "test"] = Field(
        "hold-out",
        description="Which score decides what the link `best` of the experiment points to. The "
        "test score stays an honest estimate only as long as nothing is chosen by it.",
    )


ELSEWHERE = {*Base.model_fields, *Logging.model_fields, *LEFT_OUT}
_FINETUNING: dict[str, Any] = {
    name: (field.annotation, field) for name, field in PARAMETERS.items() if name not in ELSEWHERE
}
Finetuning = create_model(
    "Finetuning",
    __base__=Section,
    __doc__="All other parameters of the estimators.",
    **_FINETUNING,
)


_FORECASTING: dict[str, Any] = {
    name: (field.annotation, field)
    for name, field in fields_of(FinetunedTabPFNForecaster).items()
    if name in OWN_PARAMETERS
}
Forecasting = create_model(
    "Forecasting",
    __base__=Section,
    __doc__="For `task: forecasting`: what is when, how far to forecast, and the backtest.",
    **_FORECASTING,
    n_windows=(
        int,
        Field(3, ge=0, description="Horizons at the end that a backtest forecasts; 0: none."),
    ),
    max_train_size=(
        int | None,
        Field(None, ge=1, description="Periods that a window of the backtest learns from at most."),
    ),
    refit=(
        bool,
        Field(
            False,
            description="Whether the backtest trains for every window, not only before the first.",
        ),
    ),
)


class RunConfig(Section):
    """A run: what is learned from, how, and where the results go."""

    model_config = ConfigDict(title="A run of finetune-tabpfn")

    data: Data
    base_model: Base
    finetuning: Finetuning  # type: ignore[valid-type]
    forecasting: Forecasting  # type: ignore[valid-type]
    logging: Logging
    output: Output

    @property
    def parameters(self) -> dict[str, Any]:
        """Of the estimator, all but `log_dir`; each setting has a name of its own."""
        loggers = {"loggers": self.logging.loggers}
        return {**dict(self.base_model), **dict(self.finetuning), **loggers}

    def to_settings(self) -> Settings:
        """Return the whole configuration, defaults written out, tables by their full paths."""
        settings = self.model_dump()
        for name in ("path", "test_path", "validation_path"):
            if settings["data"][name] is not None:
                settings["data"][name] = str(Path(settings["data"][name]).resolve())
        return settings

    def to_yaml(self) -> str:
        """Return `to_settings` as a file that `load_config` reads."""
        return to_yaml(self.to_settings())


def sections() -> dict[str, dict[str, FieldInfo]]:
    """Return the keys of every section."""
    return {
        name: section.annotation.model_fields  # type: ignore[union-attr]
        for name, section in RunConfig.model_fields.items()
    }


def load_config(path: str | Path, overrides: Mapping[str, Any] | None = None) -> RunConfig:
    """Read a run's configuration.

    Parameters
    ----------
    path : str or pathlib.Path
        A YAML file. Those that it names under ``defaults:``, from its own folder, are read
        before it; later ones override earlier ones and the file itself overrides them all.
    overrides : mapping, optional
        "section.name" to value, over what the files say.

    Raises
    ------
    ValueError
        For an unknown key, with the nearest that is known, or a value that is not permitted.
    """
    settings: Settings = {section: {} for section in sections()}
    _merge(settings, _read(Path(path), ()))
    for place, value in (overrides or {}).items():
        section, _, name = place.partition(".")
        _merge(settings, checked({section: {name: value} if name else value}))
    experiment = settings["output"].get("experiment") or Path(path).stem
    if Path(experiment).name != experiment:
        raise ValueError(
            f"output.experiment={experiment!r} must be the name of a folder, without a path."
        )
    settings["output"]["experiment"] = experiment
    try:
        return RunConfig.model_validate(settings)
    except ValidationError as error:  # all else is checked
        section, name = map(str, error.errors()[0]["loc"])
        raise ValueError(
            f"{path} lacks {section}.{name}: {sections()[section][name].description}"
        ) from None


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a configuration file, for editors."""
    schema = RunConfig.model_json_schema()
    for section in schema["$defs"].values():
        section["type"] = ["object", "null"]
        for key in section["properties"].values():
            del key["title"]
    schema["$defs"]["Base"]["type"].append("string")  # the short form
    schema["properties"][INHERIT] = {
        "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
        "description": "Files whose settings this one inherits and overrides.",
    }
    del schema["required"], schema["$defs"]["Data"]["required"]  # may stand in a file it inherits
    return {"$schema": GenerateJsonSchema.schema_dialect, **schema}


def _read(path: Path, readers: tuple[Path, ...]) -> Settings:
    """Return the settings of a file over those that it inherits."""
    if path.resolve() in readers:
        raise ValueError(f"{path} inherits from itself through {INHERIT}.")
    given = read_yaml(path)
    if not isinstance(given, dict):
        raise ValueError(f"{path} must hold the sections {', '.join(sections())}.")
    inherited = given.pop(INHERIT, None) or []
    files = [inherited] if isinstance(inherited, str) else inherited
    if not isinstance(files, list) or not all(isinstance(file, str) for file in files):
        raise ValueError(f"{path}: {INHERIT}={inherited!r} must be a file or a list of files.")
    settings: Settings = {}
    for file in files:
        _merge(settings, _read(path.parent / file, (*readers, path.resolve())))
    try:
        _merge(settings, checked(given))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return settings


def checked(given: Mapping[Any, Any]) -> Settings:
    """Return settings by section, once their keys are known and their values permitted."""
    settings = {section: {} if content is None else content for section, content in given.items()}
    if isinstance(settings.get("base_model"), str):  # the short form of the section's only key
        settings["base_model"] = {"base_model": settings["base_model"]}
    try:
        RunConfig.model_validate(settings)
    except ValidationError as error:
        wrong = [each for each in error.errors() if each["type"] != "missing"]
        if wrong:
            raise ValueError(_sentence(wrong[0])) from None
    return settings


def _sentence(error: ErrorDetails) -> str:
    """Return what is wrong with a key, a section or a value, and what would do."""
    section, *names = map(str, error["loc"][:2])
    if error["type"] in ("extra_forbidden", "invalid_key"):
        return _misplaced(section, *names) if names else _misplaced("the file", section)
    if not names:
        key = next(iter(sections()[section]))
        return (
            f"{section}={error['input']!r} must be a section: `{section}:` alone in a line, "
            f"below it lines of `name: value`, indented, such as `  {key}: {error['input']}`."
        )
    model: Any = RunConfig.model_fields[section].annotation
    words = in_words(model.model_json_schema()["properties"][names[0]])
    return f"{section}.{names[0]}={error['input']!r} must be {words}."


def _misplaced(where: str, name: str) -> str:
    """Return the sentence for a key that does not stand where it is given."""
    if name in LEFT_OUT:
        return f"{where} holds {name!r}, but a run writes into its own folder: output.folder."
    for section, keys in sections().items():
        if name in keys:
            return f"{where} holds {name!r}, which belongs to {section}: {section}.{name}."
    return unknown_name(f"{where} holds", name, sections().get(where, sections()))


def _merge(settings: Settings, over: Settings) -> None:
    """Put settings over others, key by key."""
    for section, content in over.items():
        settings[section] = {**settings.get(section, {}), **content}
