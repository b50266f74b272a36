"""What comes with an extra: everything else works without it, and says what to install."""

import argparse
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris

from finetune_tabpfn import (
    FinetunedTabPFNClassifier,
    TrainingCurveDisplay,
    fine_tune_tabpfn,
)
from finetune_tabpfn.cli import _completion, main
from finetune_tabpfn.data._io import read_table, write_table
from finetune_tabpfn.studies import Study, _figures, evaluate, prepare, preview
from finetune_tabpfn.synthetic import Schema, schema_of
from finetune_tabpfn.utils._optional import EXTRAS, MissingLibraryError, require

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"
X, Y = load_iris(return_X_y=True)
TABLE = pd.DataFrame(X, columns=list("abcd")).assign(y=Y)


def fit(**parameters):
    common = {"base_model": "mini", "max_steps": 0, "n_estimators": 1, "random_state": 0}
    return FinetunedTabPFNClassifier(**{**common, **parameters}).fit(X, Y)


# by the library: what needs it, as a function of a folder, and how the sentence begins
NEEDS = {
    "a curve": (
        "matplotlib",
        lambda _: TrainingCurveDisplay.from_estimator(FinetunedTabPFNClassifier()),
        "A training curve",
    ),
    "the plot logger": ("matplotlib", lambda p: fit(loggers="plot", log_dir=p), "loggers='plot'"),
    "a figure": (
        "matplotlib",
        lambda p: _figures.draw_scatter(np.ones(2), np.ones(2), "y", p / "a.png"),
        "A figure",
    ),
    "an evaluation": (
        "matplotlib",
        lambda p: evaluate("no.joblib", "no.csv", target="y", out=p),
        "An evaluation with figures",
    ),
    "the curve of a checkpoint": (
        "matplotlib",
        lambda p: fine_tune_tabpfn(
            save_path_to_fine_tuned_model=p / "v3.ckpt",
            X_train=X,
            y_train=Y,
            show_training_curve=True,
        ),
        "show_training_curve=True",
    ),
    "a table of the hub": (
        "huggingface_hub",
        lambda p: prepare("hf://datasets/me/there/t.csv", p, target="y"),
        "hf://datasets/me/there/t.csv",
    ),
    "a push to the hub": (
        "huggingface_hub",
        lambda p: prepare("t.csv", p, target="y", hub_repo="me/there"),
        "hub_repo='me/there'",
    ),
    "reading Parquet": ("pyarrow", lambda p: read_table(written(p / "t.parquet")), "t.parquet"),
    "writing Parquet": ("pyarrow", lambda p: write_table(TABLE, p / "t.parquet"), "t.parquet"),
    "a cache": (
        "pyarrow",
        lambda p: preview(written(p / "t.csv"), target="y", test_mode=True, cache_dir=p),
        "The cache of previews (cache_dir=None does without)",
    ),
    "the user's cache": (
        "platformdirs",
        lambda p: preview(written(p / "t.csv"), target="y", test_mode=True),
        "The cache of previews (cache_dir=None does without)",
    ),
    "reading a schema": ("yaml", lambda p: Schema.from_yaml(p / "schema.yaml"), "schema.yaml"),
    "writing a schema": ("yaml", lambda p: schema_of(TABLE).to_yaml(p / "s.yaml"), "s.yaml"),
    "completion": (
        "argcomplete",
        lambda _: _completion.run(argparse.Namespace(shell="bash")),
        "Completion in a shell",
    ),
    "LoRA": ("peft", lambda _: fit(tuning="lora", max_steps=1), 'tuning="lora"'),
    "an adaptive search": (
        "optuna",
        lambda p: Study(p).optuna_search({"batch_size": [1]}, TABLE, target="y"),
        "An adaptive search",
    ),
    "wandb": ("wandb", lambda p: fit(loggers="wandb"), "loggers='wandb'"),
    "mlflow": ("mlflow", lambda p: fit(loggers="mlflow"), "loggers='mlflow'"),
    "tensorboard": (
        "tensorboard",
        lambda p: fit(loggers="tensorboard", log_dir=p),
        "loggers='tensorboard'",
    ),
}


def written(path):
    TABLE.to_csv(path, index=False)  # what is asked for is refused before it is read
    return path


@pytest.mark.parametrize("feature", NEEDS)
def test_what_needs_a_library_says_what_to_install(feature, tmp_path, monkeypatch):
    library, use, begin = NEEDS[feature]
    monkeypatch.setitem(sys.modules, library, None)
    install = f'pip install "finetune-tabpfn[{EXTRAS[library]}]".'
    sentence = re.escape(f"{begin} needs the library {library}: {install}") + "$"
    with pytest.raises(MissingLibraryError, match=sentence):
        use(tmp_path)


def test_every_extra_has_a_feature_that_needs_it():
    assert {library for library, _, _ in NEEDS.values()} == set(EXTRAS)


def test_what_is_there_is_imported():
    assert require("yaml", "This test").safe_load("a: 1") == {"a": 1}


def test_the_extras_are_those_of_the_package():
    extras = pytest.importorskip("tomllib").loads(PYPROJECT.read_text())["project"]
    named = {"huggingface_hub": "huggingface_hub", "mlflow": "mlflow-skinny", "yaml": "pyyaml"}
    for library, extra in EXTRAS.items():
        brought = " ".join(extras["optional-dependencies"][extra])
        assert re.search(rf"\b{named.get(library, library)}\b", brought), library
        assert f"{named.get(library, library)}>" not in " ".join(extras["dependencies"])
        assert extra in " ".join(extras["optional-dependencies"]["all"])


def test_the_command_of_a_run_says_it_before_the_fit(tmp_path, monkeypatch, capsys):
    config = tmp_path / "run.yaml"
    config.write_text(f"data: {{path: {written(tmp_path / 't.csv')}, target: y}}\n")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["run", str(config)]) == 1
    said = capsys.readouterr().err
    assert said.startswith("finetune-tabpfn: error: The training curve of a run needs the library")


# tabpfn itself imports matplotlib: that is taken away once it has it
WITHOUT = f"""
import sys
blocked = {EXTRAS.keys() - {"matplotlib"}}
class Blocked:
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Blocked)
import tabpfn
blocked.add("matplotlib")
for name in [name for name in sys.modules if name.startswith("matplotlib")]:
    del sys.modules[name]
"""


def python(program):
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WITHOUT + program], capture_output=True, text=True
    )


@pytest.mark.slow
def test_the_estimators_fit_and_predict_without_any_extra():
    done = python(
        "import pandas as pd\n"
        "from sklearn.datasets import load_iris, load_diabetes\n"
        "from finetune_tabpfn import FinetunedTabPFNClassifier, FinetunedTabPFNRegressor\n"
        "import finetune_tabpfn.studies, finetune_tabpfn.synthetic\n"
        "settings = dict(base_model='mini', max_steps=2, n_estimators=1, verbose=True)\n"
        "X, y = load_iris(return_X_y=True, as_frame=True)\n"
        "X['text'] = ['a', 'b', 'c'] * 50\n"
        "model = FinetunedTabPFNClassifier(**settings).fit(X, y)\n"
        "print(model.predict_proba(X).shape)\n"
        "X, y = load_diabetes(return_X_y=True)\n"
        "print(FinetunedTabPFNRegressor(**settings).fit(X[:99], y[:99]).predict(X[:5]).shape)\n"
    )
    assert done.stdout.split("\n")[:2] == ["(150, 3)", "(5,)"], done.stderr


@pytest.mark.slow
def test_the_program_says_in_one_line_that_it_needs_the_extra():
    done = python("from finetune_tabpfn.cli import main; sys.exit(main(['schema']))")
    assert done.returncode == 1
    install = 'pip install "finetune-tabpfn[cli]".\n'
    sentence = f"The command line needs the library yaml: {install}"
    assert done.stderr == f"finetune-tabpfn: error: {sentence}"
