"""
Early stopping and a time budget
================================

When does a fit end? When the hold-out says that nothing more is to be gained, when the steps or
the time that you allow are over, or when a rule of your own says so. Whatever ends it, the best
weights are kept. This example ends one fit by each.
"""

# %%
# A table on which training can go on for long
# --------------------------------------------

import numpy as np

rng = np.random.default_rng(0)
X = rng.normal(size=(800, 4))
y = X[:, 0] * X[:, 1] * X[:, 2] > 0
X_train, y_train, X_test, y_test = X[:250], y[:250], X[250:], y[250:]

# %%
# Four ends
# ---------
# ``patience`` counts evaluations without an improvement. It grows to half of the best evaluation,
# so that a run that improves late is given longer.
#
# ``time_limit`` is in seconds and bounds the whole of ``fit``: loading, preparing, training and the
# final fit. Before a step is begun, the fit knows what must still happen and what that takes.
#
# A callback ends a fit by returning a text, which becomes ``stop_reason_``.

from finetune_tabpfn import Callback, FinetunedTabPFNClassifier


class GoodEnough(Callback):
    """Ends a fit when its score is good enough for the purpose."""

    def __init__(self, score):
        self.score = score

    def after_evaluation(self, state):
        if state.best_score >= self.score:
            return f"a score of {self.score} is good enough"
        return None


common = {"base_model": "mini", "n_estimators": 2, "eval_interval": 5, "random_state": 0}
models = {
    "impatient": FinetunedTabPFNClassifier(max_steps=120, patience=3, **common),
    "20 steps": FinetunedTabPFNClassifier(max_steps=20, **common),
    "5 seconds": FinetunedTabPFNClassifier(time_limit=5, **common),
    "good enough": FinetunedTabPFNClassifier(max_steps=120, callbacks=[GoodEnough(-0.6)], **common),
}

# %%
# Fit each, with a watch in hand.

import time

import pandas as pd
from sklearn.metrics import log_loss

rows = []
for name, model in models.items():
    begun = time.monotonic()
    model.fit(X_train, y_train)
    seconds = time.monotonic() - begun
    loss = log_loss(y_test, model.predict_proba(X_test))
    rows.append([name, model.n_steps_, seconds, model.best_score_, loss, model.stop_reason_])
columns = ["fit", "steps", "seconds", "best score", "log-loss on new rows", "stopped by"]
table = pd.DataFrame(rows, columns=columns)
print(table.round(2).to_string(index=False))

# %%
# The scores that these decisions were made by. All four begin at the same base model and go the
# same way, because they have the same seed; they only leave it at different places.

import matplotlib.pyplot as plt

figure, axis = plt.subplots(layout="constrained")
for width, (name, model) in zip([7, 5, 3, 1.5], models.items(), strict=True):
    history = model.history_
    axis.plot(history["step"], history["score"], lw=width, alpha=0.7, label=name)
axis.set(xlabel="step", ylabel="score on the hold-out (negated log-loss, greater is better)")
axis.legend()
plt.show()

# %%
# One of them in full: what its hold-out said at each evaluation, and what is deployed.

from finetune_tabpfn import TrainingCurveDisplay

TrainingCurveDisplay.from_estimator(models["impatient"])
plt.show()

# %%
# Which to use?
# -------------
# Patience alone is a good default where time does not matter. For anything that has to be done by a
# certain time, set ``time_limit`` too: it never makes the result worse than the base model's on the
# hold-out, because the base model competes with every evaluation.

fastest = table.loc[table["seconds"].idxmin()]
best = table.loc[table["log-loss on new rows"].idxmin()]
print(f"fastest: {fastest['fit']}; best on new rows: {best['fit']}")
