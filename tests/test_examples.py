"""The examples and the README's code run as they stand, without a warning."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def run(*arguments, folder):
    # tabpfn warns about its own aliases when torch looks through the loaded modules
    flags = ["-W", "error", "-W", "ignore::DeprecationWarning", "-W", "ignore::FutureWarning"]
    done = subprocess.run(
        [sys.executable, *flags, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_examples_run(example, tmp_path):
    assert "fine-tuned" in run(example, folder=tmp_path)


@pytest.mark.slow
def test_the_code_of_the_readme_runs(tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.S)
    assert blocks
    run("-c", "\n".join(blocks), folder=tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "FinetunedTabPFNClassifier",
        "FinetunedTabPFNRegressor",
        "fine_tune_base_model",
        "fine_tune_tabpfn",
    ],
)
def test_the_example_of_a_docstring_runs(name, tmp_path):
    code = (
        "import doctest, finetune_tabpfn as module; "
        f"test = doctest.DocTestFinder().find(module.{name}, globs={{}})[0]; "
        "assert test.examples; "
        "assert doctest.DocTestRunner().run(test).failed == 0"
    )
    run("-c", code, folder=tmp_path)
