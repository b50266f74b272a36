"""
Preview: does fine-tuning pay on my table?
==========================================

Before you spend an hour on a table, spend a minute: a preview fits the base model and a fine-tuned
one on a part of the rows, scores both on rows held out from both, and says how sure the difference
is.
"""

# %%
# Two tables
# ----------
# One on which a class follows from the sign of a product, one that scikit-learn bundles. A preview
# reads files (CSV, Parquet, JSON), as the command line does.

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer

folder = Path(tempfile.mkdtemp())
rng = np.random.default_rng(0)
signs = pd.DataFrame(rng.normal(size=(400, 4)), columns=list("abcd"))
signs["target"] = np.where(signs["a"] * signs["b"] * signs["c"] > 0, "plus", "minus")
signs.to_csv(folder / "signs.csv", index=False)
cancer = load_breast_cancer(as_frame=True).frame.iloc[:400, -6:]
cancer.to_csv(folder / "cancer.csv", index=False)

# %%
# Ask
# ---
# ``time_limit`` is for the whole preview. ``cache_dir`` keeps prepared rows for the next one; None
# does without.

from finetune_tabpfn.studies import preview

results = {
    name: preview(
        folder / f"{name}.csv",
        target="target",
        task="classification",
        base_model="mini",
        max_steps=60,
        n_estimators=2,
        time_limit=120,
        cache_dir=None,
    )
    for name in ["signs", "cancer"]
}
for name, result in results.items():
    print(f"{name}: {result['verdict']}")

# %%
# How sure is it?
# ---------------
# The interval comes from resampling the held-out rows. Where it includes zero, the preview cannot
# tell, and says so instead of naming a winner. Every metric has one:

rows = [
    {"table": name, "metric": metric} | figures
    for name, result in results.items()
    for metric, figures in result["metrics"].items()
]
metrics = pd.DataFrame(rows)
print(
    metrics[["table", "metric", "baseline", "candidate", "delta", "interval"]].round(3).to_string()
)

# %%
# All of them in one figure: the share of the error that fine-tuning takes away.

import matplotlib.pyplot as plt

figure, axis = plt.subplots(figsize=(6, 2), layout="constrained")
for place, result in enumerate(results.values()):
    low, high = result["combined_interval"]
    axis.plot([low, high], [place, place], lw=3)
    axis.plot(result["combined_delta"], place, "o", color="black")
axis.axvline(0, color="gray", ls="--", lw=1)
axis.set(yticks=range(len(results)), yticklabels=results, ylim=(-0.5, len(results) - 0.5))
axis.set_xlabel("share of the error taken away, with its 95 % interval")
plt.show()

# %%
# The same question can be asked of rows instead of a method: ``preview("new.csv",
# base_data="old.csv", target="target")`` says whether adding ``new.csv`` to ``old.csv`` makes
# predictions of ``old.csv`` better. In a shell it is ``finetune-tabpfn preview old.csv --target
# target``.

import shutil

shutil.rmtree(folder)
