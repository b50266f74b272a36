"""
Weights & Biases, offline
=========================

Follow fits in Weights & Biases without an account or a network: everything is written into a
folder, and ``wandb sync`` uploads it when you like.

Needs ``pip install "finetune-tabpfn[wandb]"``.
"""

# %%
# wandb's own environment variables say where runs go. ``offline`` never connects.

import os
import tempfile
from pathlib import Path

folder = Path(tempfile.mkdtemp())
os.environ |= {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_PROJECT": "wine"}

# %%
# A fit with a run of its own
# ---------------------------
# ``loggers="wandb"`` begins a run, logs parameters, every step and every evaluation, and ends it
# with the fit. ``log_dir`` is where wandb's files go.

from sklearn.datasets import load_wine

from finetune_tabpfn import FinetunedTabPFNClassifier

X, y = load_wine(return_X_y=True, as_frame=True)
model = FinetunedTabPFNClassifier(
    base_model="mini", max_steps=20, n_estimators=2, random_state=0, loggers="wandb", log_dir=folder
)
model.fit(X, y)

for path in sorted(folder.glob("wandb/offline-run-*")):
    print(f"wandb sync {path.relative_to(folder)}    # uploads it")

# %%
# Several fits in a run of yours
# ------------------------------
# Where you have a run open, fits are logged into that one and leave it open. Their names begin with
# ``finetune_tabpfn/``, so that they do not meet yours.

import wandb
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
with wandb.init(dir=folder, config={"table": "wine"}) as run:
    model.fit(X_train, y_train)
    run.log({"test/log_loss": log_loss(y_test, model.predict_proba(X_test))})
    summary = dict(run.summary)

for name in ["base_score", "best_score", "stop_reason"]:
    print(f"{name}: {summary['finetune_tabpfn/' + name]}")
print(f"test/log_loss: {summary['test/log_loss']:.3f}")

# %%
# What can go wrong
# -----------------
# A logger never harms a fit: one that fails warns once and is left out from there on. If a fit
# itself fails, its run ends as failed (exit code 1), with the error in the summary.
#
# Clean up. In your own work the folder is what you keep.

import shutil

shutil.rmtree(folder)
