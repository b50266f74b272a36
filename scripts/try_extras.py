"""Install each extra of the package alone, and use what it promises.

``python scripts/try_extras.py [EXTRA ...]`` makes one environment with the package and nothing
more, and for each extra one above it. What an extra promises is done with it: a fit with this
logger, a search, a file in that format.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from _environments import PINNED, ROOT, TORCH_INDEX, install_torch, new_environment, run

FIT = """
from sklearn.datasets import load_iris
from finetune_tabpfn import FinetunedTabPFNClassifier
X, y = load_iris(return_X_y=True, as_frame=True)
def fit(**more):
    settings = {"base_model": "mini", "max_steps": 2, "n_estimators": 1, "random_state": 0}
    return FinetunedTabPFNClassifier(**settings, **more).fit(X, y)
"""
PROMISES = {
    "": "assert fit().predict(X).shape == y.shape",
    "cli": """
from finetune_tabpfn.cli import main
X.assign(y=y).to_parquet("t.parquet")
common = ["--base-model", "mini", "--max-steps", "2", "--n-estimators", "1", "--quiet"]
assert main(["fit", "t.parquet", "--target", "y", "--out", "m.joblib", *common]) == 0
assert main(["predict", "m.joblib", "t.parquet", "--out", "p.parquet"]) == 0
assert main(["schema", "--out", "s.json"]) == 0
assert main(["completion", "bash"]) == 0
""",
    "plot": """
fit(loggers="plot", log_dir=".")
from finetune_tabpfn import TrainingCurveDisplay
TrainingCurveDisplay.from_estimator(fit()).figure_.savefig("curve.svg")
""",
    "hub": "import huggingface_hub; huggingface_hub.HfApi()",
    "wandb": """
import os
os.environ["WANDB_MODE"] = "offline"
fit(loggers="wandb", log_dir=".")
""",
    "lora": 'fit(tuning="lora").save_adapter("adapter")',
    "studies": """
from finetune_tabpfn.studies import Study
settings = {"base_model": "mini", "max_steps": 2, "n_estimators": 1}
table = X.assign(y=y)
space = {"learning_rate": [1e-4, 1e-3]}
Study("s").optuna_search(space, table, target="y", n_trials=2, parameters=settings)
""",
    "tensorboard": 'fit(loggers="tensorboard", log_dir=".")',
    "mlflow": 'fit(loggers="mlflow", log_dir=".")',
}


def main() -> int:
    """Try what is asked for and print a line for each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("extras", nargs="*", metavar="EXTRA", help=f"[{', '.join(PROMISES)[2:]}]")
    parser.add_argument("--torch-index", metavar="URL", help=TORCH_INDEX)
    parser.add_argument("--folder", type=Path, default=ROOT / ".venv" / "extras")
    asked = parser.parse_args()
    bare = new_environment(asked.folder / "bare", sys.executable)
    install_torch(bare, "torch", asked.torch_index)
    run([bare, "-m", "pip", "install", "--quiet", "--constraint", PINNED, ROOT])
    bad = 0
    for extra in ["", *(asked.extras or [name for name in PROMISES if name])]:
        said = _tried(bare, extra, asked.folder)
        bad += bool(said)
        print(f"{extra or 'no extra'}: {said or 'does what it promises'}", flush=True)
    return int(bad > 0)


def _tried(bare: Path, extra: str, folder: Path) -> str:
    """Install an extra above the bare package and use it; return what went wrong."""
    python = bare
    if extra:
        python = new_environment(folder / extra, sys.executable)
        packages = "import sysconfig; print(sysconfig.get_path('purelib'))"
        above = Path(run([python, "-c", packages]).stdout.strip()) / "bare.pth"
        above.write_text(run([bare, "-c", packages]).stdout)
        pip = [python, "-m", "pip", "install", "--quiet", "--constraint", PINNED]
        run([*pip, f"{ROOT}[{extra}]"])
    empty = folder / f"work-{extra}"
    empty.mkdir(exist_ok=True)
    done = run([python, "-W", "ignore", "-c", FIT + PROMISES[extra]], check=False, folder=empty)
    return done.stderr.strip().rpartition("\n")[2] if done.returncode else ""


if __name__ == "__main__":
    sys.exit(main())
