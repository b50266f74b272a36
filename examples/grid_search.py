"""
Grid search
===========

The estimators are scikit-learn's: ``GridSearchCV`` searches them, in a pipeline too. What to put
into the grid, and how to tell a better setting from luck.
"""

# %%
# A table that the base model cannot read
# ---------------------------------------
# The class is the sign of a product of three columns. No column, and no pair of columns, says
# anything by itself.

import numpy as np

rng = np.random.default_rng(0)
X = rng.normal(size=(600, 4))
y = X[:, 0] * X[:, 1] * X[:, 2] > 0
X_train, y_train, X_test, y_test = X[:250], y[:250], X[250:], y[250:]

# %%
# The grid
# --------
# ``max_steps=0`` is the base model: with it in the grid, the search answers "should I fine-tune at
# all?" on the same folds. Of the other parameters the learning rate matters most. ``training__...``
# reaches the settings that stand inside ``training``.

from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from finetune_tabpfn import FinetunedTabPFNClassifier

pipeline = make_pipeline(
    StandardScaler(),
    FinetunedTabPFNClassifier(base_model="mini", n_estimators=2, random_state=0),
)
name = "finetunedtabpfnclassifier__"
search = GridSearchCV(
    pipeline,
    [
        {f"{name}max_steps": [0]},
        {f"{name}max_steps": [60], f"{name}learning_rate": [4e-5, 4e-4]},
    ],
    scoring="neg_log_loss",
    cv=StratifiedKFold(2, shuffle=True, random_state=0),
)
search.fit(X_train, y_train)

# %%
# What it found
# -------------
# Rows of ``cv_results_``, best first. The spread over the folds says how much of a difference may
# be luck.

import pandas as pd

table = pd.DataFrame(search.cv_results_)
table = table.rename(columns=lambda column: column.replace(f"param_{name}", ""))
columns = ["max_steps", "learning_rate", "mean_test_score", "std_test_score", "mean_fit_time"]
print(
    table[columns].sort_values("mean_test_score", ascending=False).round(5).to_string(index=False)
)

base = table.loc[table["max_steps"] == 0].iloc[0]
best = table.loc[search.best_index_]
gain = best["mean_test_score"] - base["mean_test_score"]
spread = max(best["std_test_score"], base["std_test_score"])
print(f"\nThe best setting gains {gain:.3f} over the base model; folds differ by {spread:.3f}.")

# %%
# Rows that decided nothing
# -------------------------
# ``GridSearchCV`` has fitted the best setting again on all of its rows, and predicts like it.

from sklearn.metrics import log_loss

plain = pipeline.set_params(**{f"{name}max_steps": 0}).fit(X_train, y_train)
losses = [log_loss(y_test, model.predict_proba(X_test)) for model in (plain, search)]
print("log-loss on new rows: base {:.3f}, best of the search {:.3f}".format(*losses))

# %%
# Two things to know before a larger search:
#
# - Every fit stops early by a hold-out of its own, so that more ``max_steps`` costs time but seldom
#   harms. It is a budget (also as ``resource="max_steps"`` of ``HalvingGridSearchCV``) rather than
#   something to tune.
# - ``finetune_tabpfn.studies.search_space()`` is a space that is sensible for most tables, and
#   ``.for_sklearn()`` writes it in the names that ``RandomizedSearchCV`` asks for:

from finetune_tabpfn.studies import search_space

for setting, values in search_space(base_model="mini").for_sklearn(prefix=name).items():
    print(setting, values)
