"""Imports point one way, and tabpfn enters through one door."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import finetune_tabpfn

ROOT = Path(finetune_tabpfn.__file__).parent
MODULES = sorted(str(path.relative_to(ROOT).with_suffix("")) for path in ROOT.rglob("*.py"))
# packages, and modules that stand alone, from the bottom to the top: one imports only what stands
# before it
ORDER = [
    "utils",
    "training",
    "data",
    "_losses",
    "_tasks",
    "_tabpfn",
    "_scoring",
    "loggers",
    "finetuning",
    "_nested",
    "_parameters",
    "models",
    "_planning",
    "_sklearn_callbacks",
    "_estimators",
    "_estimates",
    "_multi_table",
    "_api",
    "forecasting",
    "__init__",
    "synthetic",
    "studies",
    "automl",
    "runs",
    "pretraining",
    "cli",
    "__main__",
]


def imported(module):
    """Return the modules that a module imports: of this package by their path, and others' names.

    The package's own `__init__` stands only for the public names that are taken from it.
    """
    inside, outside = set(), set()
    for node in ast.walk(ast.parse((ROOT / f"{module}.py").read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            top, *parts = name.split(".")
            if top == "finetune_tabpfn":
                inside.add(module_of(parts))
            else:
                outside.add(top)
    return inside - {module}, outside


def module_of(parts):
    """Return the module that holds a name: the longest path that is one."""
    for end in range(len(parts), 0, -1):
        for path in ("/".join(parts[:end]), "/".join([*parts[:end], "__init__"])):
            if path in MODULES:
                return path
    return "__init__"


GRAPH = {module: imported(module)[0] for module in MODULES}


def room(module):
    return module.split("/")[0]


def test_every_module_has_its_place():
    assert {room(module) for module in MODULES} == set(ORDER)


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_one_way(module):
    above = {
        other
        for other in GRAPH[module]
        if room(other) != room(module) and ORDER.index(room(other)) > ORDER.index(room(module))
    }
    # the public names are looked up when they are asked for
    assert not above or module == "__init__"


def test_no_modules_import_each_other():
    left = {module: set(others) for module, others in GRAPH.items() if module != "__init__"}
    while left:
        ready = {module for module, others in left.items() if not others & left.keys()}
        assert ready, f"a circle among {sorted(left)}"
        left = {module: others for module, others in left.items() if module not in ready}


@pytest.mark.parametrize("module", MODULES)
def test_tabpfn_enters_through_one_door(module):
    _, outside = imported(module)
    assert "tabpfn" not in outside or module.startswith("_tabpfn/")


@pytest.mark.parametrize("module", [module for module in MODULES if room(module) == "training"])
def test_the_training_loop_knows_neither_tabpfn_nor_scikit_learn(module):
    inside, outside = imported(module)
    assert {room(other) for other in inside} <= {"training", "utils"}
    assert not outside & {"sklearn", "tabpfn", "pandas"}


def test_the_map_in_the_docs_names_every_module():
    page = (ROOT.parents[1] / "docs" / "design.md").read_text()
    drawn = page[page.index("## The map") : page.index("## Where to change what")]
    for module in MODULES:
        name = module.split("/")[-1]
        assert name.startswith("__") or f"{name}.py" in drawn, module


def test_modules_are_private_and_few_names_are_public():
    """What is public is what the package and its packages name in `__all__`."""
    assert len(finetune_tabpfn.__all__) <= 14
    for module in MODULES:
        assert module.split("/")[-1].startswith("_"), module


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
