"""Imports point one way, and tabpfn enters through one door."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import finetune_tabpfn

ROOT = Path(finetune_tabpfn.__file__).parent
MODULES = sorted(str(path.relative_to(ROOT).with_suffix("")) for path in ROOT.rglob("*.py"))
# from the bottom to the top; a module imports only what stands before it
ORDER = [
    "warn",
    "text",
    "training",
    "adamw",
    "files",
    "data",
    "random_state",
    "tasks",
    "scoring",
    "parameters",
    "columns",
    "dates",
    "kinds",
    "inputs",
    "recipe",
    "holdout",
    "callbacks",
    "checkpoints",
    "records",
    "trackers",
    "curve",
    "loggers",
    "sklearn_callbacks",
    "_tabpfn",
    "export",
    "lora",
    "base_models",
    "splits",
    "forecasting",
    "tuning",
    "courses",
    "choice",
    "finetuning",
    "estimators",
    "related",
    "fields",
    "config",
    "tables",
    "messages",
    "api",
    "__init__",
    "run_config",
    "run_tables",
    "run_folders",
    "runs",
    "plans",
    "information",
    "studies",
    "synthetic",
    "pretraining",
    "demo",
    "cli",
]


def imported(module):
    """Return the modules of this package that a module imports, and whether it imports tabpfn."""
    inside, tabpfn = set(), False
    for node in ast.walk(ast.parse((ROOT / f"{module}.py").read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            tabpfn |= parts[0] == "tabpfn"
            if parts[0] == "finetune_tabpfn":
                inside.add(parts[1] if len(parts) > 1 and parts[1] in ORDER else "__init__")
    return inside, tabpfn


def place(module):
    return ORDER.index(module.split("/")[0])


def test_every_module_has_its_place():
    assert {module.split("/")[0] for module in MODULES} == set(ORDER)


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_one_way(module):
    inside, _ = imported(module)
    own = module.split("/")[0]
    assert all(place(other) < place(module) for other in inside if other != own), inside


@pytest.mark.parametrize("module", MODULES)
def test_tabpfn_enters_through_one_door(module):
    _, tabpfn = imported(module)
    assert not tabpfn or module.startswith("_tabpfn/")


def test_the_loop_knows_neither_tabpfn_nor_scikit_learn():
    source = (ROOT / "training.py").read_text()
    assert "sklearn" not in source
    assert imported("training") == ({"warn"}, False)


def test_few_public_names():
    assert len(finetune_tabpfn.__all__) <= 10


@pytest.mark.slow
def test_nothing_is_compiled_and_so_torchs_compiler_is_not_imported():
    """It takes one to four seconds of a first fit."""
    program = (
        "import sys; from sklearn.datasets import load_iris;"
        "from finetune_tabpfn import FinetunedTabPFNClassifier as Classifier;"
        "Classifier(base_model='mini', max_steps=2).fit(*load_iris(return_X_y=True));"
        "print('torch._dynamo' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
