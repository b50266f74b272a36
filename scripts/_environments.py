"""Environments that the scripts here make, try something in, and throw away."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PINNED = ROOT / "constraints.txt"
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"


class CannotTryError(Exception):
    """Something is not to be had here; the text says what."""


def run(
    command: Sequence[object], *, check: bool = True, folder: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    """Run a command outside of any checkout's path and return what it said."""
    words = [str(word) for word in command]
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(words, cwd=folder, env=clean, capture_output=True, text=True)
    if check and done.returncode:
        said = (done.stderr or done.stdout)[-3000:]
        raise SystemExit(f"{' '.join(words)}\nended with {done.returncode}:\n{said}")
    return done


def new_environment(folder: Path, python: str) -> Path:
    """Make an environment anew and return its Python."""
    shutil.rmtree(folder, ignore_errors=True)
    run([python, "-m", "venv", folder])
    return folder / ("Scripts" if os.name == "nt" else "bin") / "python"


def install_torch(python: Path, wanted: str, index: str | None = None) -> None:
    """Install torch without CUDA.

    Raises
    ------
    CannotTryError
        Where there is none, or it would bring gigabytes of CUDA libraries.
    """
    pip = [python, "-m", "pip", "install", "--quiet", wanted]
    if wanted == "torch":
        pip += ["--constraint", PINNED]
    if index:
        pip += ["--index-url", index]
    report = run([*pip, "--dry-run", "--report", "-"], check=False)
    if report.returncode:
        raise CannotTryError(f"{wanted} for this Python is not to be had here")
    planned = [each["metadata"]["name"] for each in json.loads(report.stdout)["install"]]
    cuda = [name for name in planned if re.search("nvidia|cuda|triton", name)]
    if cuda:
        raise CannotTryError(
            f"{wanted} would bring {len(cuda)} packages of CUDA; --torch-index {TORCH_INDEX} has "
            "one without"
        )
    run(pip)


def lower_bounds() -> list[str]:
    """Return the oldest version of everything that users install, as pip pins it."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    used = text[text.index("\ndependencies") : text.index("\nall = ")]
    listed = re.findall(r'"([A-Za-z][\w.-]*)>=([\d.]+)[^"]*"', used)
    return sorted(f"{name}=={version}" for name, version in listed)
