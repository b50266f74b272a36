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


def install_torch(
    python: Path, wanted: str, index: str | None = None, *, with_cuda: bool = False
) -> None:
    """Install torch, without CUDA unless gigabytes of its libraries are welcome.

    Raises
    ------
    CannotTryError
        Where there is none, or it would bring CUDA libraries that nobody asked for.
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
    if cuda and not with_cuda:
        raise CannotTryError(
            f"{wanted.removesuffix('>=0')} would bring {len(cuda)} CUDA packages; "
            f"--torch-index {TORCH_INDEX} has one without, --with-cuda takes them"
        )
    run(pip)


def oldest_versions(python: Path, extras: str) -> list[str]:
    """Return the oldest of everything pyproject.toml names that this Python can have, as pip pins.

    That is its lower bound, or the first version above it that was built for this Python: what is
    older than a Python has no wheel for it. What they bring in turn is pinned too, since pip would
    search for hours what goes with old versions; what torch alone brings is torch's affair. uv
    finds them all; it is installed beside the package.
    """
    run([python, "-m", "pip", "install", "--quiet", "uv"])
    chosen = [word for extra in extras.split(",") for word in ("--extra", extra)]
    uv = [python, "-m", "uv", "pip", "compile", "pyproject.toml", *chosen, "--python", python]
    uv += ["--resolution", "lowest-direct", "--only-binary", ":all:"]
    uv += ["--quiet", "--no-header", "--annotation-style", "line"]
    lines = [line.split("# via ") for line in run(uv).stdout.splitlines()]
    return [pin.strip() for pin, why in lines if "torch" not in why.split(", ")]
