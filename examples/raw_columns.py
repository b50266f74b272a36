"""
A pipeline with raw columns
===========================

Tables of real work hold text, categories, dates and gaps. They go into ``fit`` as they are: no
encoder, no imputer. This example says what then happens to each column, and compares it with the
pipeline that one would otherwise write.
"""

# %%
# Orders, as a shop would export them
# -----------------------------------
# Will an order be late? It depends on the carrier, on the weekday, on what the customer wrote, and
# on a weight that is often not filled in.

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

rng = np.random.default_rng(0)
n_rows = 600
goods = ["lamp", "sofa", "desk", "mirror", "chair", "carpet", "shelf", "bed"]
wishes = ["fragile", "ring twice", "call first", "leave at the door", "second floor", "no lift"]
weight = rng.lognormal(2, 0.8, n_rows)
orders = pd.DataFrame(
    {
        "ordered": pd.Timestamp("2024-01-01")
        + pd.to_timedelta(rng.integers(500, size=n_rows), "D"),
        "carrier": pd.Categorical(rng.choice(["Post", "Rapid", "Van & Sons"], n_rows)),
        "note": [f"{rng.choice(goods)}, {rng.choice(wishes)}" for _ in range(n_rows)],
        "weight_kg": np.where(rng.random(n_rows) < 0.25, np.nan, weight).round(1),
        "express": rng.random(n_rows) < 0.3,
    }
)
weekend = orders["ordered"].dt.day_of_week >= 4
stairs = orders["note"].str.contains("no lift|second floor")
score = 2 * weekend + 2.5 * stairs + 0.1 * weight - 1.5 * orders["express"] - 2.5
score += orders["carrier"].map({"Post": 0.0, "Rapid": -1.5, "Van & Sons": 1.0}).astype(float)
late = pd.Series(np.where(rng.logistic(size=n_rows) < score, "late", "on time"), name="delivery")
orders.head()

# %%
# Fit the raw table
# -----------------
# The labels are text as well. Only one thing has to be said: rows with a date may have an order in
# time, and then a hold-out drawn at random would be too kind (see
# :ref:`sphx_glr_auto_examples_groups.py` for what that means). Here the orders are independent of
# each other, so ``validation=0.2`` says that a random fifth is meant; ``validation="time"`` would
# take the latest.

from finetune_tabpfn import FinetunedTabPFNClassifier

X_train, X_test, y_train, y_test = train_test_split(
    orders, late, train_size=300, stratify=late, random_state=0
)
settings = {"base_model": "mini", "validation": 0.2, "n_estimators": 2, "random_state": 0}
model = FinetunedTabPFNClassifier(max_steps=60, **settings).fit(X_train, y_train)
print(model.deployment_reason_)

# %%
# What each column was taken for is learned once, in ``fit``. Every later table is read by it, so
# that a row is predicted alike whatever stands beside it.

for column in model.columns_.columns:
    print(f"{column.name}: {column.kind}")

# %%
# In a pipeline
# -------------
# The estimator is a step like any other. A step before it that adds what you know about the table
# is worth more than one that encodes:


def with_day_of_week(table):
    """Add the weekday, which a carrier's week depends on."""
    return table.assign(weekday=table["ordered"].dt.day_name().astype("category"))


from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

pipeline = make_pipeline(FunctionTransformer(with_day_of_week), clone(model))
pipeline.fit(X_train, y_train)

# %%
# Against the usual pipeline
# --------------------------
# skrub's ``tabular_pipeline`` encodes dates, categories and text, and hands the result to
# scikit-learn's gradient boosting.

from sklearn.metrics import log_loss, roc_auc_score
from skrub import tabular_pipeline

boosting = tabular_pipeline("classifier").fit(X_train, y_train)
base = FinetunedTabPFNClassifier(max_steps=0, **settings).fit(X_train, y_train)

candidates = {
    "encoders and boosting": boosting,
    "base TabPFN, raw columns": base,
    "fine-tuned, raw columns": model,
    "fine-tuned, with weekday": pipeline,
}
rows = {}
for name, candidate in candidates.items():
    proba = candidate.predict_proba(X_test)
    auc = roc_auc_score(y_test == candidate.classes_[1], proba[:, 1])
    rows[name] = {"log-loss": log_loss(y_test, proba), "AUC": auc}
scores = pd.DataFrame(rows).T
print(scores.round(3).to_string())
print(f"\nThe lowest log-loss on new orders: {scores['log-loss'].idxmin()}.")

# %%
# New orders with gaps and unknown words
# --------------------------------------
# A carrier that ``fit`` never saw counts as unknown, and any cell may be missing.

new = X_test.head(3).copy()
new["carrier"] = ["Drone", None, "Post"]
new["weight_kg"] = np.nan
print(pd.DataFrame(model.predict_proba(new), columns=model.classes_).round(3).to_string())
