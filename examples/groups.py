"""
Groups: rows that belong together
=================================

Several rows of one patient, several days of one shop: rows of a group resemble each other. If the
question is about *new* patients, a hold-out drawn row by row is too kind, because it asks about
patients that the model knows. ``groups`` keeps them whole.
"""

# %%
# Patients
# --------
# Eight rows each. A patient's level, which no column says, moves both the target and, a little, the
# columns: whoever knows the patient from other rows knows the level.

import numpy as np

rng = np.random.default_rng(0)
n_patients, n_rows = 80, 8
patient = np.repeat(np.arange(n_patients), n_rows)
level = rng.normal(size=n_patients)[patient]
print_of_a_patient = rng.normal(size=(n_patients, 3))[patient]  # blood type, height, and the like
X = np.column_stack(
    [
        rng.normal(size=(len(patient), 2)),
        print_of_a_patient + 0.05 * rng.normal(size=print_of_a_patient.shape),
    ]
)
y = X[:, 0] * X[:, 1] + level + 0.2 * rng.normal(size=len(patient))

known = patient < 40
X_train, y_train, of_whom = X[known], y[known], patient[known]
X_new, y_new = X[~known], y[~known]

# %%
# Two hold-outs
# -------------

from sklearn.metrics import root_mean_squared_error

from finetune_tabpfn import FinetunedTabPFNRegressor

settings = {"base_model": "mini", "max_steps": 40, "random_state": 0}
by_row = FinetunedTabPFNRegressor(**settings).fit(X_train, y_train)
by_patient = FinetunedTabPFNRegressor(**settings).fit(X_train, y_train, groups=of_whom)

gaps = {}
for name, model in [("row by row", by_row), ("whole patients", by_patient)]:
    said = -model.best_score_  # a negated RMSE, as all scores are greater when better
    true = root_mean_squared_error(y_new, model.predict(X_new))
    gaps[name] = said / true - 1
    print(f"{name:>15}: the hold-out says RMSE {said:.2f}, new patients say {true:.2f}")

print("\nThe hold-out is off by", ", ".join(f"{gap:+.0%} ({name})" for name, gap in gaps.items()))

# %%
# The hold-out that knows the patients promises more than new patients get. And it decides: when to
# stop, which weights are best, whether fine-tuning paid at all.
#
# With ``groups`` a group is also never split between context and query rows of a training step, so
# that the network practises what it will be asked: patients that it has no rows of.

import matplotlib.pyplot as plt

figure, axis = plt.subplots(figsize=(6, 3.6), layout="constrained")
for name, model in [("row by row", by_row), ("whole patients", by_patient)]:
    axis.plot(model.history_["step"], -model.history_["score"], marker="o", ms=3, label=name)
axis.axhline(np.std(y_new), color="gray", ls="--", lw=1, label="always the mean")
axis.set(xlabel="step", ylabel="RMSE on the hold-out")
axis.legend()
plt.show()

# %%
# In cross-validation
# -------------------
# Both the folds and the hold-outs within each fold have to respect the groups. scikit-learn's
# metadata routing takes them to both.

import sklearn
from sklearn.model_selection import GroupKFold, cross_validate

with sklearn.config_context(enable_metadata_routing=True):
    model = FinetunedTabPFNRegressor(**settings | {"max_steps": 20, "n_estimators": 1})
    scores = cross_validate(
        model.set_fit_request(groups=True),
        X_train,
        y_train,
        cv=GroupKFold(3),
        scoring="neg_root_mean_squared_error",
        params={"groups": of_whom},
    )
print("RMSE of each fold of patients:", -scores["test_score"].round(2))

# %%
# Rows in the order of time have the same trouble: ``validation="time"``, and ``TimeSplit`` of
# ``finetune_tabpfn.forecasting``, hold out the latest.
