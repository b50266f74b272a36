"""Examples, notebooks and the code of the README run without a warning; `make gallery`: all."""

import ast
import doctest
import re
import sys
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import nbformat
import pytest
from nbclient import NotebookClient

import finetune_tabpfn
from finetune_tabpfn import forecasting

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
NOTEBOOKS = sorted((ROOT / "examples" / "notebooks").glob("*.ipynb"))
LISTED = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
# those that `make test` runs: the others take longer, and `make gallery` runs them
QUICK = {"autogluon_ensemble", "classify", "wandb_offline"}
QUICK_NOTEBOOKS = {"quickstart"}


def stem(path):
    """Return the name by which a test calls a file."""
    return path.stem


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run code as a script in an empty folder and return what it prints."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["example"])
    monkeypatch.setattr(plt, "show", lambda: plt.close("all"))
    if "wandb" in sys.modules:
        sys.modules["wandb"].teardown()  # another test's session, which has read the variables

    def ran(code, name):
        with mpl.rc_context({"backend": "agg", "figure.max_open_warning": 0}):
            exec(compile(code, name, "exec"), {"__name__": "__main__"})
        said = capsys.readouterr()
        assert said.err == ""
        assert list(tmp_path.iterdir()) == []
        return said.out

    yield ran
    plt.close("all")


@pytest.mark.parametrize("example", EXAMPLES, ids=stem)
def test_an_example_tells_a_story(example):
    """A title, an introduction, text between the code, and something printed at its end."""
    code = example.read_text(encoding="utf-8")
    compile(code, str(example), "exec")
    title, underline, rest = ast.get_docstring(ast.parse(code)).split("\n", 2)
    assert set(underline) == {"="}
    assert len(title) == len(underline)
    assert len(rest.split()) > 20
    assert code.count("\n# %%\n# ") >= 3
    assert "print(" in code
    assert f"({example.name})" in LISTED


@pytest.mark.parametrize("path", NOTEBOOKS, ids=stem)
def test_a_notebook_tells_a_story(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    first, *texts = [c.source for c in notebook.cells if c.cell_type == "markdown"]
    assert first.startswith("# ")
    assert len(texts) >= 3
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
    assert f"(notebooks/{path.name})" in LISTED


@pytest.mark.slow
@pytest.mark.timeout(600)  # on a busy machine an example takes minutes
@pytest.mark.parametrize("example", EXAMPLES, ids=stem)
def test_an_example_runs(example, run, everything):
    if not everything and example.stem not in QUICK:
        pytest.skip("`make gallery` runs it")
    assert run(example.read_text(encoding="utf-8"), str(example))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=stem)
def test_a_notebook_runs(path, tmp_path, everything):
    if not everything and path.stem not in QUICK_NOTEBOOKS:
        pytest.skip("`make gallery` runs it")
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=500, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    said = [out.text for out in outputs if out.get("name") == "stderr"]
    assert said == []
    assert any("image/png" in out.get("data", {}) for out in outputs)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_code_of_the_readme_runs(run, everything):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.S)
    assert blocks
    code = "\n".join(blocks)
    run(code if everything else re.sub(r"\btime_limit=\d+", "max_steps=3", code), "README.md")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "FinetunedTabPFNClassifier",
        "FinetunedTabPFNForecaster",
        "FinetunedTabPFNRegressor",
        "estimate_memory",
        "estimate_seconds",
        "fine_tune_base_model",
        "fine_tune_tabpfn",
    ],
)
def test_the_example_of_a_docstring_runs(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (test,) = doctest.DocTestFinder(recurse=False).find(
        getattr(finetune_tabpfn, name), name, globs={}
    )
    assert test.examples
    assert doctest.DocTestRunner().run(test).failed == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", forecasting.__all__)
def test_the_example_of_a_name_for_forecasts_runs(name):
    tests = doctest.DocTestFinder(recurse=False).find(getattr(forecasting, name), name, globs={})
    for test in tests:
        if name != "FinetunedTabPFNForecaster":  # it trains
            assert doctest.DocTestRunner().run(test).failed == 0
