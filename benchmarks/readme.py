"""The two figures of README: a training curve, and the comparison with tabpfn.finetuning.

    python benchmarks/readme.py [curve] [comparison] [--steps 200] [--out docs]

The curve is that of the shipped mini model on scikit-learn's breast cancer table. The comparison
draws the table of docs/recipe.md whose columns are "here" and the rates of the rival, which
`benchmarks/compare.py` has measured; draw it again when that table has changed.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from sklearn.datasets import load_breast_cancer

from finetune_tabpfn import FinetunedTabPFNClassifier, TrainingCurveDisplay

ROOT = Path(__file__).resolve().parents[1]
RECIPE = ROOT / "docs" / "recipe.md"
HEAD = "| table | training rows | split | here |"


def draw_curve(path: Path, steps: int) -> None:
    """Fine-tune on a small table, in folds, and draw the curve."""
    X, y = load_breast_cancer(return_X_y=True)
    model = FinetunedTabPFNClassifier(base_model="mini", max_steps=steps, random_state=0)
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    TrainingCurveDisplay.from_estimator(model.fit(X, y), ax=figure.subplots())
    figure.savefig(path, dpi=100)


def read_comparison() -> pd.DataFrame:
    """Return the table of docs/recipe.md: a row per split, losses over the base model's."""
    lines = RECIPE.read_text(encoding="utf-8").splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith(HEAD))
    rows = []
    for line in [lines[begin], *lines[begin + 2 :]]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in re.split(r"\|", line)[1:-1]])
    table = pd.DataFrame(rows[1:], columns=rows[0])
    return table.set_index(["table", "split", "training rows"]).astype(float)


def draw_comparison(path: Path) -> None:
    """Draw a row for each split: this package, and the best of the rival's rates."""
    losses = read_comparison()
    rival = losses.drop(columns="here").min(axis=1)
    order = losses["here"].sort_values(ascending=False).index
    here, rival = losses["here"][order], rival[order]
    places = range(len(order))
    figure = Figure(figsize=(6.4, 7.4), layout="constrained")
    ax = figure.subplots()
    ax.axvline(1, color="gray", lw=1, ls="--", label="base model")
    ax.hlines(places, here, rival, color="lightgray", lw=2, zorder=1)
    ax.plot(rival, places, "D", color="tab:orange", ms=4, label="tabpfn.finetuning, best rate")
    ax.plot(here, places, "o", color="tab:blue", ms=5, label="finetune-tabpfn")
    names = [f"{name} ({rows})" for name, _, rows in order]
    ax.set_yticks(places, names, fontsize=7)
    ax.set_xlabel("test loss over the base model's: further left is better")
    title = f"{len(here)} splits (training rows), mini base model, 60 s of one core for each fit"
    ax.set_title(title, fontsize="small", loc="left", x=-0.25)
    ax.legend(fontsize="small", loc="lower left")
    figure.savefig(path, dpi=100)


def main() -> None:
    """Draw what is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("figures", nargs="*", metavar="FIGURE", help="curve, comparison [both]")
    parser.add_argument("--steps", type=int, default=200, help="of the curve's fit [200]")
    parser.add_argument("--out", type=Path, default=ROOT / "docs", metavar="FOLDER")
    asked = parser.parse_args()
    figures = asked.figures or ["curve", "comparison"]
    asked.out.mkdir(parents=True, exist_ok=True)
    if "curve" in figures:
        draw_curve(asked.out / "training_curve.png", asked.steps)
    if "comparison" in figures:
        draw_comparison(asked.out / "comparison.png")


if __name__ == "__main__":
    main()
