"""
Classification: three spirals
=============================

Fine-tune a classifier, and see on rows that neither model has seen whether it was worth it. Two
columns and three classes, so that what fine-tuning changes can be looked at.
"""

# %%
# The table
# ---------
# Three arms of a spiral, wound twice. A pretrained TabPFN has met few tables like this one, which
# is what makes it a good case for fine-tuning.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import train_test_split

rng = np.random.default_rng(0)
y = rng.integers(3, size=900)
turn = rng.uniform(0, 4 * np.pi, size=900)
angle = turn + y * 2 * np.pi / 3
X = np.column_stack([turn * np.cos(angle), turn * np.sin(angle)])
X += rng.normal(scale=0.5, size=X.shape)
X_train, X_test, y_train, y_test = train_test_split(X, y, train_size=300, random_state=0)

# %%
# Fit
# ---
# ``base_model="mini"`` is the small network that ships with the package; it runs offline and on a
# CPU. ``max_steps=100`` bounds the training by updates of the network, so that this page looks the
# same whenever it is made. In your own work ``time_limit=60`` bounds the whole fit, in seconds.

from finetune_tabpfn import FinetunedTabPFNClassifier

tuned = FinetunedTabPFNClassifier(base_model="mini", max_steps=100, random_state=0)
tuned.fit(X_train, y_train)

# %%
# A fifth of the training rows was held out, and scored again and again while the network was
# trained. The estimator says what it came to, and why it deployed what it deployed:

print(f"{tuned.n_steps_} steps, stopped by {tuned.stop_reason_}")
print(f"{tuned.scoring_} on the hold-out: {tuned.base_score_:.2f} -> {tuned.best_score_:.2f}")
print(tuned.deployment_reason_)

# %%
# The same as a curve. The base model's score is the line to beat.

from finetune_tabpfn import TrainingCurveDisplay

TrainingCurveDisplay.from_estimator(tuned)
plt.show()

# %%
# Was it worth it?
# ----------------
# The hold-out decided when to stop, so it flatters the result a little. An honest comparison needs
# rows that decided nothing, and the same model without training: ``max_steps=0`` is exactly that.

from sklearn.metrics import accuracy_score, log_loss

base = FinetunedTabPFNClassifier(base_model="mini", max_steps=0, random_state=0)
base.fit(X_train, y_train)

losses = {}
for name, model in [("base", base), ("fine-tuned", tuned)]:
    proba = model.predict_proba(X_test)
    losses[name] = log_loss(y_test, proba)
    accuracy = accuracy_score(y_test, model.classes_[proba.argmax(axis=1)])
    print(f"{name:>10}: log-loss {losses[name]:.3f}, accuracy {accuracy:.3f}")

change = losses["fine-tuned"] / losses["base"] - 1
print(f"\nOn new rows fine-tuning changed the log-loss by {change:+.0%}.")

# %%
# What has changed
# ----------------
# Both models hold the same 300 rows as context, and they have the same architecture. The difference
# is what the network makes of rows that lie near each other: where colours are pale, it is unsure.

grid = np.stack(np.meshgrid(*[np.linspace(-14, 14, 40)] * 2), axis=-1)
figure, axes = plt.subplots(1, 2, figsize=(9, 4.4), sharey=True, layout="constrained")
for axis, (name, model) in zip(axes, [("base", base), ("fine-tuned", tuned)], strict=True):
    proba = model.predict_proba(grid.reshape(-1, 2)).reshape(*grid.shape[:2], 3)
    axis.imshow(proba, origin="lower", extent=(-14, 14, -14, 14), interpolation="bilinear")
    axis.scatter(*X_train.T, c=np.eye(3)[y_train], s=14, edgecolors="white", linewidths=0.5)
    axis.set_title(f"{name}: log-loss {losses[name]:.2f} on new rows")
plt.show()
