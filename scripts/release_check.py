"""Build what would be released, and use it as a stranger would: without this repository.

``make release-check`` runs it. It builds the source distribution and the wheel into dist/, holds
the former against the files of git, installs the wheel into a clean environment, and runs the
demonstration from there in an empty folder.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path

from _environments import PINNED, ROOT, TORCH_INDEX, install_torch, new_environment, run

DIST = ROOT / "dist"
IN_THE_WHEEL = (
    "finetune_tabpfn/py.typed",
    "finetune_tabpfn/runs/options.json",
    "finetune_tabpfn/assets/mini-classifier-v3.safetensors",
    "finetune_tabpfn/assets/mini-regressor-v3.safetensors",
    "licenses/LICENSE",
    "licenses/NOTICE",
)


def main() -> int:
    """Build, check, install, run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--torch-index", metavar="URL", help=TORCH_INDEX)
    asked = parser.parse_args()
    shutil.rmtree(DIST, ignore_errors=True)
    run([sys.executable, "-m", "build", "--outdir", DIST, ROOT])
    (wheel,), (source,) = DIST.glob("*.whl"), DIST.glob("*.tar.gz")
    _check_source(source)
    _check_wheel(wheel)
    _check_links()
    print(run([sys.executable, "-m", "twine", "check", "--strict", wheel, source]).stdout.strip())
    with tempfile.TemporaryDirectory() as folder:
        _run_elsewhere(wheel, Path(folder), asked.torch_index)
    return 0


def _check_source(source: Path) -> None:
    """Hold the source distribution against what git knows."""
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    missing = set(run(["git", "ls-files"]).stdout.splitlines()) - names
    if missing:
        raise SystemExit(f"{source.name} lacks {', '.join(sorted(missing))}: see MANIFEST.in.")
    print(f"{source.name}: all files of the repository, {source.stat().st_size / 1e6:.1f} MB")


def _check_wheel(wheel: Path) -> None:
    """Check that the wheel has what the package reads, and nothing beside the package."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    missing = [name for name in IN_THE_WHEEL if not any(each.endswith(name) for each in names)]
    other = {name.partition("/")[0] for name in names} - {"finetune_tabpfn"}
    if missing or [name for name in other if not name.endswith(".dist-info")]:
        raise SystemExit(f"{wheel.name} lacks {missing}, or has more than the package: {other}")
    print(f"{wheel.name}: {len(names)} files, {wheel.stat().st_size / 1e6:.1f} MB")


def _check_links() -> None:
    """Check that README's links lead somewhere from where else it is shown: on PyPI."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)]+)\)|^\[[^\]]+\]: (.+)$", text, flags=re.M)
    relative = [link for link in map("".join, links) if "://" not in link]
    if relative:
        raise SystemExit(f"README.md has links that only this repository knows: {relative}")


def _run_elsewhere(wheel: Path, folder: Path, index: str | None) -> None:
    """Install the wheel alone and run the demonstration in an empty folder."""
    began = time.monotonic()
    python = new_environment(folder / "clean", sys.executable)
    install_torch(python, "torch", index)
    pip = [python, "-m", "pip", "install", "--quiet", "--constraint", PINNED]
    run([*pip, f"finetune-tabpfn[cli] @ {wheel.as_uri()}"])
    installed = time.monotonic()
    empty = folder / "empty"
    empty.mkdir()
    program = python.with_name("finetune-tabpfn")
    done = run([program, "demo", "--out", "demo", "--json"], folder=empty)
    result = json.loads(done.stdout)
    ended = time.monotonic()
    left = sorted(path.name for path in (empty / "demo").iterdir())
    print(
        f"installed in {installed - began:.0f} s, demonstration in {ended - installed:.0f} s, "
        f"left {', '.join(left)}\n{json.dumps(result)}"
    )


if __name__ == "__main__":
    sys.exit(main())
