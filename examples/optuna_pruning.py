"""
Optuna with pruning
===================

Search settings with Optuna, and end the fits that are clearly behind before they are over: a
callback of the estimator tells Optuna of every evaluation.

Needs ``pip install "finetune-tabpfn[studies]"``.
"""

# %%
# The objective
# -------------
# Two hooks join the two libraries. ``search_space().suggest(trial)`` asks a trial for settings,
# and ``after_evaluation`` of a callback reports the score of each evaluation. What a callback
# raises ends the fit and reaches you, so ``optuna.TrialPruned`` needs no more than ``raise``.

import optuna
from sklearn.datasets import make_friedman1
from sklearn.metrics import root_mean_squared_error

from finetune_tabpfn import Callback, FinetunedTabPFNRegressor
from finetune_tabpfn.studies import Range, SearchSpace

X, y = make_friedman1(n_samples=700, n_features=5, noise=0.5, random_state=0)
X_train, y_train = X[:200], y[:200]  # to train on
X_val, y_val = X[200:300], y[200:300]  # to choose settings by
X_test, y_test = X[300:], y[300:]  # to know what the choice is worth


class ReportToOptuna(Callback):
    """Reports each evaluation's best score so far, and ends a fit that Optuna gives up."""

    def __init__(self, trial):
        self.trial = trial

    def after_evaluation(self, state):
        self.trial.report(state.best_score, step=state.step)
        if self.trial.should_prune():
            raise optuna.TrialPruned


space = SearchSpace(
    learning_rate=Range(1e-5, 2e-3, log=True),
    tuning=["full", "norm"],
    ema_decay=[0.0, 0.95],
)


def objective(trial):
    """Return the score of a trial on the rows that settings are chosen by."""
    model = FinetunedTabPFNRegressor(
        base_model="mini",
        max_steps=30,
        eval_interval=5,
        n_estimators=1,
        random_state=0,
        callbacks=[ReportToOptuna(trial)],
    )
    model.set_params(**space.suggest(trial))
    model.fit(X_train, y_train, X_val=X_val, y_val=y_val)
    trial.set_user_attr("steps", model.n_steps_)
    return model.best_score_


# %%
# Every fit validates on the same rows, or scores could not be compared. Scores are greater when
# better, as everywhere in scikit-learn: hence ``direction="maximize"`` for a negated RMSE.

optuna.logging.set_verbosity(optuna.logging.WARNING)
study = optuna.create_study(
    direction="maximize",
    sampler=optuna.samplers.TPESampler(n_startup_trials=5, seed=0),
    pruner=optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=5),
)
study.optimize(objective, n_trials=8)

# %%
# What pruning saved
# ------------------

trials = study.trials_dataframe(attrs=("number", "value", "params", "state"))
trials["evaluated steps"] = [max(trial.intermediate_values) for trial in study.trials]
trials.columns = trials.columns.str.removeprefix("params_")
print(trials.to_string(index=False, float_format="{:.3g}".format))

made = trials["evaluated steps"].sum()
pruned = (trials["state"] == "PRUNED").sum()
print(f"\n{pruned} of {len(trials)} fits were pruned: {made} steps instead of {30 * len(trials)}.")

# %%
# The curves. A pruned fit ends where it lies below the median of those before it.

import matplotlib.pyplot as plt

figure, axis = plt.subplots(layout="constrained")
for trial in study.trials:
    steps, scores = zip(*sorted(trial.intermediate_values.items()), strict=True)
    is_pruned = trial.state == optuna.trial.TrialState.PRUNED
    style = {"color": "tab:red", "ls": "--"} if is_pruned else {"color": "tab:blue"}
    axis.plot(steps, scores, marker="o", ms=3, **style)
axis.plot([], [], color="tab:blue", label="done")
axis.plot([], [], color="tab:red", ls="--", label="pruned")
axis.set(xlabel="step", ylabel="best negated RMSE so far (greater is better)")
axis.legend()
plt.show()

# %%
# The best setting on new rows
# ----------------------------
# The best of eight is a little too good on the rows that chose it. The test rows say what is left.

best = FinetunedTabPFNRegressor(base_model="mini", max_steps=30, n_estimators=1, random_state=0)
best.set_params(**space.suggest(optuna.trial.FixedTrial(study.best_params)))
best.fit(X_train, y_train, X_val=X_val, y_val=y_val)
print(f"chosen by: {-study.best_value:.3f} (base model {-best.base_score_:.3f})")
print(f"new rows:  {root_mean_squared_error(y_test, best.predict(X_test)):.3f}")

# %%
# ``finetune_tabpfn.studies.Study.optuna_search`` does all of this in one call, and keeps every
# trial in a folder, from which an interrupted search goes on.
