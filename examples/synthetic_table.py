"""
Share a table without its rows
==============================

A table that may not leave the house can still be described. A schema holds what its columns are
and how they hang together, and no row; whoever has it can draw a twin. Is a model that is
fine-tuned on the twin of use on the real rows?
"""

# %%
# The real table
# --------------

from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

table = load_breast_cancer(as_frame=True).frame.iloc[:, -9:]
train, test = train_test_split(table, train_size=300, stratify=table["target"], random_state=0)

# %%
# Its schema
# ----------
# ``schema.to_yaml("cancer.yaml")`` writes it to a file that is meant to be read before it is sent:
# it has column names, shares of frequent values, and quantiles behind which at least ten rows
# stand.

from finetune_tabpfn.synthetic import schema_of, table_from_schema

schema = schema_of(train, target="target")
print("\n".join(schema.to_yaml().splitlines()[:12]), "\n...")

# %%
# A twin
# ------
# Two rows of nobody:

X, y = table_from_schema(schema, n_rows=300, random_state=0)
print(X.head(2).round(2).T.to_string())

# %%
# Trained on the twin, tested on real rows
# ----------------------------------------

from sklearn.metrics import roc_auc_score

from finetune_tabpfn import FinetunedTabPFNClassifier

X_test, y_test = test.drop(columns="target"), test["target"]
areas = {}
for name, X_train, y_train in [
    ("the real rows", train.drop(columns="target"), train["target"]),
    ("the synthetic ones", X, y),
]:
    model = FinetunedTabPFNClassifier(base_model="mini", max_steps=20, random_state=0)
    model.fit(X_train, y_train)
    areas[name] = roc_auc_score(y_test, model.predict_proba(X_test)[:, 1])
    print(f"fine-tuned on {name}: AUC {areas[name]:.3f} on real rows")

lost = areas["the real rows"] - areas["the synthetic ones"]
print(f"\nThe twin costs {lost:.3f} of AUC.")

# %%
# This target depends on its columns almost linearly, which is what a schema can say. It knows
# columns one by one and pairs of columns by rank: of a table whose target hangs on interactions,
# the twin knows next to nothing:

import numpy as np
import pandas as pd

rng = np.random.default_rng(0)
product = pd.DataFrame(rng.normal(size=(600, 3)), columns=["a", "b", "c"])
product["target"] = product["a"] * product["b"] > 0
twin = table_from_schema(schema_of(product[:300], target="target"), n_rows=300, random_state=0)
for name, (X_train, y_train) in [
    ("the real rows", (product[:300].drop(columns="target"), product["target"][:300])),
    ("the synthetic ones", twin),
]:
    model = FinetunedTabPFNClassifier(base_model="mini", max_steps=20, random_state=0)
    model.fit(X_train, y_train)
    area = roc_auc_score(
        product["target"][300:], model.predict_proba(product[300:].drop(columns="target"))[:, 1]
    )
    print(f"a product, fine-tuned on {name}: AUC {area:.3f}")
