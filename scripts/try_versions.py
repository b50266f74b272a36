"""Try the package with every Python, and with the oldest and the newest of what it depends on.

``python scripts/try_versions.py`` makes an environment for each Python that is here and for both
ends of the versions that pyproject.toml permits, installs the package, and runs tests in it. What
cannot be tried here is said, not left out in silence; where torch is not to be had without CUDA,
what works without torch is tried. What pytest said is kept; an environment in which all went well
is deleted.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

from _environments import (
    ROOT,
    TORCH_INDEX,
    CannotTryError,
    install_torch,
    new_environment,
    oldest_versions,
    run,
)

PYTHONS = ("3.10", "3.11", "3.12", "3.13")
EXTRAS = "all"
TOOLS = ("pytest", "pytest-timeout", "hypothesis", "jsonschema", "tabulate")
# the estimators, what reads tables, and the program
TESTS = (
    "tests/cli", "tests/data", "tests/finetuning", "tests/forecasting", "tests/loggers",
    "tests/runs", "tests/studies", "tests/synthetic",
    "tests/test_compliance.py", "tests/test_estimators.py", "tests/test_metadata.py",
)  # fmt: skip
SHOWN = ("torch", "tabpfn", "scikit-learn", "numpy", "pandas")


def main() -> int:
    """Try what is asked for and print a line for each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--python", nargs="+", default=PYTHONS, metavar="X.Y")
    parser.add_argument("--ends", nargs="+", default=("oldest", "newest"), metavar="END")
    parser.add_argument("--extras", default=EXTRAS, help=f"[{EXTRAS}]")
    parser.add_argument("--torch-index", metavar="URL", help=TORCH_INDEX)
    parser.add_argument("--with-cuda", action="store_true", help="where torch has it: gigabytes")
    parser.add_argument("--torch", metavar="VERSION", help="this one at both ends")
    parser.add_argument("--folder", type=Path, default=ROOT / ".venv" / "versions")
    parser.add_argument("--tests", nargs="+", default=TESTS, metavar="PATH")
    parser.add_argument("--strict", action="store_true", help="fail where something is not tried")
    asked = parser.parse_args()
    bad = 0
    for python in asked.python:
        for end in asked.ends:
            try:
                said, is_good = _tried(python, end, asked)
            except CannotTryError as error:
                said, is_good = f"NOT TRIED: {error}", not asked.strict
            bad += not is_good
            print(f"Python {python}, {end}: {said}", flush=True)
    return int(bad > 0)


def _tried(python: str, end: str, asked: argparse.Namespace) -> tuple[str, bool]:
    """Install and test; return what came of it, and whether that is good."""
    found = shutil.which(f"python{python}")
    if found is None or run([found, "--version"], check=False).returncode:
        raise CannotTryError(f"there is no python{python} on the path")
    folder = asked.folder / f"{python}-{end}"
    inside = new_environment(folder, found)
    pins = oldest_versions(inside, asked.extras) if end == "oldest" else []
    torch = next((pin for pin in pins if pin.startswith("torch==")), "torch>=0")
    if asked.torch:
        torch = f"torch=={asked.torch}"
    constraints = folder / "constraints.txt"
    constraints.write_text("\n".join(pin for pin in pins if not pin.startswith("torch==")))
    try:
        install_torch(inside, torch, asked.torch_index, with_cuda=asked.with_cuda)
    except CannotTryError as error:
        run([inside, "-m", "pip", "install", "--quiet", "--no-deps", ROOT])
        _check_answers(inside, folder)
        said = f"all modules compile, help and wrong usage are answered; no more, as {error}"
        return said, not asked.strict
    pip = [inside, "-m", "pip", "install", "--quiet", "--constraint", constraints]
    run([*pip, f"{ROOT}[{asked.extras}]", *TOOLS])
    _check_answers(inside, folder)
    said, is_good = _tested(inside, folder.parent / f"{folder.name}.log", asked.tests)
    if is_good:
        shutil.rmtree(folder)
    return said, is_good


def _check_answers(python: Path, folder: Path) -> None:
    """Check what the program answers without torch, and that every module is one here."""
    program = [python, "-m", "finetune_tabpfn"]
    assert "COMMAND" in run([*program, "--help"], folder=folder).stdout
    wrong = run([*program, "fit", "a.csv", "--max-steps", "many"], check=False, folder=folder)
    assert wrong.returncode == 2, wrong.stderr
    assert "must be a whole number" in wrong.stderr, wrong.stderr
    where = "import finetune_tabpfn as package; print(package.__path__[0])"
    package = run([python, "-c", where], folder=folder).stdout.strip()
    run([python, "-m", "compileall", "-q", package])


def _tested(python: Path, log: Path, tests: list[str]) -> tuple[str, bool]:
    """Run the fast tests; return pytest's last line with the versions, and whether it is good."""
    # the warnings of other versions of other libraries are none of ours; pyproject.toml says -q,
    # and a second one hides the line that counts
    pytest = [python, "-m", "pytest", "-p", "no:cacheprovider", "-o", "filterwarnings=default"]
    done = run([*pytest, "-m", "not slow", *tests], check=False)
    log.write_text(done.stdout + done.stderr, encoding="utf-8")
    lines = [line for line in done.stdout.splitlines() if " passed" in line or " error" in line]
    listed = json.loads(run([python, "-m", "pip", "list", "--format", "json"]).stdout)
    versions = {each["name"].lower(): each["version"] for each in listed}
    shown = ", ".join(f"{name} {versions[name]}" for name in SHOWN)
    last = lines[-1] if lines else "no test ran"
    is_good = done.returncode == 0
    return f"{last} ({shown})" + ("" if is_good else f"; {log}"), is_good


if __name__ == "__main__":
    sys.exit(main())
