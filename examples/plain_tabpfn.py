"""
Use a fine-tuned network in plain TabPFN
========================================

Where this package is not installed, such as on a server that predicts, the fine-tuned network is a
checkpoint like TabPFN's own. And fine-tuning can go on from it.
"""

# %%
# Fine-tune and save
# ------------------
# ``save_model`` writes the network, without any row of the table. Keep "v3" in the name, which is
# where tabpfn reads the architecture's version.

import tempfile
from pathlib import Path

import numpy as np

from finetune_tabpfn import FinetunedTabPFNClassifier

rng = np.random.default_rng(0)
X = rng.normal(size=(900, 4))
y = X[:, 0] * X[:, 1] * X[:, 2] > 0
X_train, y_train, X_test, y_test = X[:250], y[:250], X[600:], y[600:]

model = FinetunedTabPFNClassifier(base_model="mini", max_steps=100, random_state=0)
model.fit(X_train, y_train)
print(model.deployment_reason_)

folder = Path(tempfile.mkdtemp())
file = model.save_model(folder / "signs-v3.safetensors")
print(file.name, f"{file.stat().st_size / 1e6:.1f} MB, licence: {model.base_model_.licence}")

# %%
# Plain TabPFN
# ------------
# With the same rows as context and the same settings it predicts the same. ``inference_precision``
# is said because tabpfn otherwise predicts in bfloat16 on processors that have it.

import torch
from sklearn.metrics import log_loss
from tabpfn import TabPFNClassifier

settings = {
    "n_estimators": 4,
    "random_state": 0,
    "device": "cpu",
    "inference_precision": torch.float32,
}
plain = TabPFNClassifier(model_path=file, **settings).fit(X_train, y_train)
difference = np.abs(plain.predict_proba(X_test) - model.predict_proba(X_test)).max()
print(f"largest difference of a probability: {difference:.1e}")

# %%
# Other rows as context
# ---------------------
# The network was fine-tuned on 250 rows. What it learned is how such a table works; rows that
# arrive later only have to be shown to it. ``fit`` of plain TabPFN does not train.

mini = TabPFNClassifier(model_path=model.base_model_.path, **settings)
losses = {}
for name, network in [("base", mini), ("fine-tuned", plain)]:
    for n_rows in [250, 600]:
        network.fit(X[:n_rows], y[:n_rows])
        losses[name, n_rows] = log_loss(y_test, network.predict_proba(X_test))
        print(f"{name:>10}, {n_rows} rows of context: log-loss {losses[name, n_rows]:.3f}")

better = "lower" if losses["fine-tuned", 600] < losses["fine-tuned", 250] else "no lower"
print(f"\nWith rows that it was not trained on, the fine-tuned network's loss is {better}.")

# %%
# Go on from it
# -------------
# The file is a base model for the next fit. Its ``base_score_`` is what the first fine-tuning
# reached, and the licence comes along.

further = FinetunedTabPFNClassifier(base_model=file, max_steps=30, random_state=0)
further.fit(X[:400], y[:400])
print(f"{further.base_model_.name.split('/')[-1]}: {further.base_model_.licence}")
print(f"score on the hold-out {further.base_score_:.3f} -> {further.best_score_:.3f}")
print(further.deployment_reason_)

# %%
# To keep the whole estimator, context rows included, ``joblib.dump(model, path)`` is the way, as
# with any estimator of scikit-learn. In a shell ``finetune-tabpfn export model.joblib --out
# signs-v3.safetensors`` makes one of the other.

import shutil

shutil.rmtree(folder)
