"""
A prior and a base model of your own
====================================

What a base model can read is decided by the tables that it was pretrained on. If your tables have
something in common, write down how such tables come about, as a function that draws them, and
pretrain on it. Here for seconds, from the shipped mini model on; then the result is fine-tuned to
one table as any base model is.
"""

# %%
# The prior
# ---------
# Sensors on machines: the target swings with the product of two of the columns, with a frequency
# and an amplitude that each machine has for itself. A prior draws many tables of one shape at
# once, and everything random comes from ``generator``, so that a run can be repeated and resumed.

import torch

from finetune_tabpfn.pretraining import PretrainConfig, Tables, pretrain


def swinging(n_tables, n_rows, n_columns, generator):
    """Draw tables whose target swings with the product of the first two columns."""
    x = torch.randn(n_rows, n_tables, n_columns, generator=generator)
    frequency = 1 + 2 * torch.rand(n_tables, generator=generator)
    slope = torch.randn(n_tables, generator=generator)
    noise = 0.1 * torch.randn(n_rows, n_tables, generator=generator)
    y = torch.sin(frequency * x[..., 0] * x[..., 1]) + 0.3 * slope * x[..., -1] + noise
    # which column is which differs from table to table, so that the network has to find out
    order = torch.rand(n_tables, n_columns, generator=generator).argsort(1)
    return Tables(x.gather(2, order.expand(n_rows, -1, -1)), y)


# %%
# Pretrain
# --------
# From the weights of the mini model (``start``), on tables of up to 160 rows and 4 columns: this
# is about what a CPU does in seconds. For a model to keep, let it run for hours, with tables as
# large as yours, and a prior that is wider than what you expect to meet (see the guide on
# pretraining).

import tempfile
from pathlib import Path

from finetune_tabpfn import FinetunedTabPFNRegressor

folder = Path(tempfile.mkdtemp())
config = PretrainConfig(
    kind="regression",
    steps=24,
    stages={1.0: [160, 1]},
    max_columns=4,
    cells_per_pass=12_000,
    eval_interval=8,
    validation_passes=2,
    muon_lr=1e-3,
    adamw_lr=5e-4,
)

# a machine that the prior has never drawn: 300 rows, of which 100 are known
table = swinging(1, 300, 4, torch.Generator().manual_seed(1))
X, y = table.x[:, 0].numpy(), table.y[:, 0].numpy()
X_train, y_train, X_test, y_test = X[:100], y[:100], X[100:], y[100:]

mini = FinetunedTabPFNRegressor(base_model="mini", max_steps=0, random_state=0)
mini.fit(X_train, y_train)
own = pretrain(
    folder / "swinging-v3.safetensors", config, prior=swinging, start=mini.base_model_.path
)

# %%
# How it went stands beside the model, a line per validation, on tables that training never sees.

import pandas as pd

print(pd.read_json(own.with_suffix(".jsonl"), lines=True).to_string(index=False))

# %%
# Compare on one machine
# ----------------------
# The mini model and the own base model as they are, and each fine-tuned to the hundred rows.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import root_mean_squared_error

errors = {}
for base_model, name in [("mini", "mini"), (own, "own prior")]:
    for max_steps in [0, 40]:
        model = FinetunedTabPFNRegressor(
            base_model=base_model, max_steps=max_steps, random_state=0
        ).fit(X_train, y_train)
        label = f"{name}, {'fine-tuned' if max_steps else 'as it is'}"
        errors[label] = root_mean_squared_error(y_test, model.predict(X_test))

errors["always the mean"] = np.std(y_test)
for name, error in errors.items():
    print(f"{name:>22}: RMSE {error:.3f}")

figure, axis = plt.subplots(figsize=(6, 3), layout="constrained")
axis.barh(list(errors)[::-1], list(errors.values())[::-1])
axis.set_xlabel("RMSE on new rows of this machine")
plt.show()

best = min(errors, key=errors.get)
print(
    f"\nBest here: {best}, {1 - errors[best] / errors['mini, as it is']:.0%} below mini as it is."
)

# %%
# The file is an ordinary checkpoint: plain TabPFN takes it as ``model_path``. ``python -m
# finetune_tabpfn.pretraining --help`` pretrains from a shell, on a GPU, by the clock, and resumes.
# Clean up:

import shutil

shutil.rmtree(folder)
