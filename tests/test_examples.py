"""The examples and the README's code run, without a warning; in `make test-all` as they stand."""

import doctest
import re
from pathlib import Path

import pytest

import finetune_tabpfn
from finetune_tabpfn import forecasting

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.fixture
def run(everything, tmp_path, monkeypatch, capsys):
    """Run code in an empty folder and return what it prints; a time limit becomes a few steps."""
    monkeypatch.chdir(tmp_path)

    def ran(code, name):
        if not everything:
            code = re.sub(r"\btime_limit=\d+", "max_steps=3", code)
        exec(compile(code, name, "exec"), {"__name__": "__main__"})
        said = capsys.readouterr()
        assert said.err == ""
        return said.out

    return ran


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_examples_run(example, run):
    assert "fine-tuned" in run(example.read_text(), str(example))


@pytest.mark.slow
def test_the_code_of_the_readme_runs(run):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.S)
    assert blocks
    run("\n".join(blocks), "README.md")


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
