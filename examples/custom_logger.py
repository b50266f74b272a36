"""
A logger of your own
====================

A logger is an object with some of five methods. This one collects what the built-in curves do not
show: how large the gradients are, and how far the weights have moved from the base model.
"""

# %%
# The class
# ---------
# Override what you need. ``state`` is everything that outlives a step: ``state.step``,
# ``state.train_loss``, ``state.grad_norm``, ``state.history``, and the network itself as
# ``state.model``. Unlike a callback a logger cannot end a fit, and if it fails, it warns once and
# is left out.

import torch

from finetune_tabpfn import FinetunedTabPFNRegressor, Logger


class Movement(Logger):
    """Collects the gradient's norm at every step, and the way of the weights at evaluations."""

    def on_fit_begin(self, run):
        self.gradients, self.ways = [], []
        print(f"{run['task']} of {run['rows']} rows, from {run['base_model']['name']}")

    def after_step(self, state):
        self.gradients.append((state.step, state.grad_norm))

    def after_evaluation(self, state):
        now, base = state.model.state_dict(), state.base_weights
        squares = [
            (now[name].float() - base[name].float()).square().sum()
            for name in base
            if torch.is_floating_point(base[name])
        ]
        self.ways.append((state.step, float(torch.stack(squares).sum().sqrt())))

    def on_fit_end(self, estimator):
        print(f"{estimator.n_steps_} steps: {estimator.deployment_reason_}")

    def on_fit_error(self, error):  # instead of on_fit_end
        print(f"failed after {len(self.gradients)} steps: {error}")


# %%
# Use it
# ------
# Two fits, of which one learns ten times as fast.

from sklearn.datasets import make_friedman1

X, y = make_friedman1(n_samples=250, n_features=5, noise=0.5, random_state=0)
watched = {}
for rate in [4e-4, 4e-3]:
    watched[rate] = Movement()
    FinetunedTabPFNRegressor(
        base_model="mini",
        learning_rate=rate,
        max_steps=50,
        n_estimators=1,
        random_state=0,
        loggers=watched[rate],
    ).fit(X, y)

# %%
# What it saw
# -----------

import matplotlib.pyplot as plt

figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
for rate, movement in watched.items():
    axes[0].semilogy(*zip(*movement.gradients, strict=True), label=f"rate {rate:g}")
    axes[1].plot(*zip(*movement.ways, strict=True), marker="o", label=f"rate {rate:g}")
axes[0].set(xlabel="step", ylabel="norm of the gradient")
axes[1].set(xlabel="step", ylabel="distance from the base model's weights")
axes[1].legend()
plt.show()

ways = {rate: movement.ways[-1][1] for rate, movement in watched.items()}
slow, fast = ways.values()
print(f"Ten times the rate moved the weights {fast / slow:.1f} times as far.")

# %%
# By name
# -------
# A package registers its logger as an entry point,
#
# .. code-block:: toml
#
#     [project.entry-points."finetune_tabpfn.loggers"]
#     movement = "my_package:Movement"
#
# and ``loggers="movement"`` finds it, on the command line too. It is then called with ``log_dir``
# (a ``pathlib.Path``, or None) as its only argument.
