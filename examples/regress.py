"""
Regression that gains, with intervals
=====================================

Fine-tune a regressor on a table whose target bends and interacts, and predict an interval around
each value. Then look at what decides whether fine-tuning gains: how well the base model could read
such a table already.
"""

# %%
# A table with interactions
# -------------------------
# Friedman's function is a product inside a sine, a parabola and two lines; the sixth column says
# nothing.

from sklearn.datasets import make_friedman1
from sklearn.model_selection import train_test_split

X, y = make_friedman1(n_samples=800, n_features=6, noise=0.5, random_state=0)
X_train, X_test, y_train, y_test = train_test_split(X, y, train_size=400, random_state=0)

# %%
# Fit, and the base model beside it
# ---------------------------------

from finetune_tabpfn import FinetunedTabPFNRegressor

tuned = FinetunedTabPFNRegressor(base_model="mini", max_steps=120, random_state=0)
tuned.fit(X_train, y_train)
base = FinetunedTabPFNRegressor(base_model="mini", max_steps=0, random_state=0)
base.fit(X_train, y_train)
print(tuned.deployment_reason_)

# %%
# A prediction is a distribution
# ------------------------------
# ``predict`` returns its mean. Quantiles make an interval: between those of 5 and 95 % should lie
# nine of ten targets. A good model has intervals that are right *and* narrow.

import numpy as np
from sklearn.metrics import root_mean_squared_error

errors, widths = {}, {}
for name, model in [("base", base), ("fine-tuned", tuned)]:
    errors[name] = root_mean_squared_error(y_test, model.predict(X_test))
    low, high = model.predict(X_test, output_type="quantiles", quantiles=[0.05, 0.95])
    inside = np.mean((low <= y_test) & (y_test <= high))
    widths[name] = np.mean(high - low)
    print(
        f"{name:>10}: RMSE {errors[name]:.2f}, 90 % intervals are {widths[name]:.2f} wide on "
        f"average and hold {inside:.0%} of the test rows"
    )

# %%
# The noise of the table has a standard deviation of 0.5: no model can do better than that. What can
# be gained is the part of the error above it.

gained = (errors["base"] - errors["fine-tuned"]) / (errors["base"] - 0.5)
print(f"Fine-tuning took away {gained:.0%} of the error that can be taken away.")

# %%
# Look at the intervals
# ---------------------
# Test rows in the order of their prediction. Each bar should hold its dot nine times of ten.

import matplotlib.pyplot as plt

rows = np.argsort(tuned.predict(X_test))[::10]
place = np.arange(len(rows))
figure, axes = plt.subplots(1, 2, figsize=(10, 4), sharey=True, layout="constrained")
for axis, (name, model) in zip(axes, [("base", base), ("fine-tuned", tuned)], strict=True):
    low, high = model.predict(X_test[rows], output_type="quantiles", quantiles=[0.05, 0.95])
    axis.vlines(place, low, high, color="tab:blue", alpha=0.5, label="90 % interval")
    axis.scatter(place, y_test[rows], s=12, color="black", label="target", zorder=2)
    axis.set(title=f"{name}: RMSE {errors[name]:.2f}", xlabel="test rows, by prediction")
axes[0].set_ylabel("target")
axes[0].legend()
plt.show()

# %%
# When it does not gain
# ---------------------
# The mini model was pretrained on random tables, many of them linear. On a linear table it is about
# as good as can be from the first second, and the estimator notices: nothing better than the base
# model is found, or nothing that is more than luck.

rng = np.random.default_rng(0)
line = X[:, :3] @ [3.0, -2.0, 1.0] + rng.normal(scale=0.5, size=len(X))
on_a_line = FinetunedTabPFNRegressor(base_model="mini", max_steps=30, random_state=0)
on_a_line.fit(X[:150, :3], line[:150])
print(on_a_line.deployment_reason_)
