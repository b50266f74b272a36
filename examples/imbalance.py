"""
Rare classes
============

One row in twenty is of the class that matters. Three parameters are for this: ``class_weight``
says what an error costs, ``balanced_contexts`` shows the network rare rows more often, and
``scoring`` says by what the best evaluation is chosen. Do they help, and at what?
"""

# %%
# A table with a rare class
# -------------------------

from sklearn.model_selection import train_test_split

from finetune_tabpfn.synthetic import make_table

X, y = make_table(1000, 5, imbalance=0.9, categorical_share=0, noise=0.2, random_state=1)
X_train, X_test, y_train, y_test = train_test_split(
    X, y, train_size=300, stratify=y, random_state=0
)
print(y_train.value_counts().rename("training rows").to_string())

# %%
# Five fits
# ---------
# Average precision looks at the rare class alone, and does not ask how probabilities are
# calibrated.

from finetune_tabpfn import FinetunedTabPFNClassifier

settings = {
    "base model": {"max_steps": 0},
    "fine-tuned": {},
    "balanced contexts": {"balanced_contexts": True},
    "by average precision": {"scoring": "average_precision"},
    "class weights": {"class_weight": "balanced"},
}
common = {"base_model": "mini", "max_steps": 50, "n_estimators": 2, "random_state": 0}
models = {
    name: FinetunedTabPFNClassifier(**common | own).fit(X_train, y_train)
    for name, own in settings.items()
}
for name, model in models.items():
    print(f"{name}: {model.deployment_reason_}")

# %%
# What each is good at
# --------------------
# Average precision judges the order of the rows, the log-loss the probabilities, recall and
# precision the decision at one half.

import pandas as pd
from sklearn.metrics import average_precision_score, log_loss, precision_score, recall_score

rows = {}
for name, model in models.items():
    proba = model.predict_proba(X_test)[:, 1]
    said = proba > 0.5
    rows[name] = {
        "average precision": average_precision_score(y_test, proba),
        "log-loss": log_loss(y_test, proba),
        "recall": recall_score(y_test, said),
        "precision": precision_score(y_test, said, zero_division=0),
    }
table = pd.DataFrame(rows).T
print(table.round(3).to_string())

# %%
# The weights change what ``predict_proba`` means: they multiply the probabilities, so that one
# half is where the *cost* of both errors is equal. That raises recall and spoils the log-loss by
# intention.

most_recall = table["recall"].idxmax()
print(f"highest recall: {most_recall}; best probabilities: {table['log-loss'].idxmin()}")
print(f"best order: {table['average precision'].idxmax()}")

# %%
# A threshold afterwards
# ----------------------
# Often the better way: keep calibrated probabilities, and choose the threshold that the task asks
# for. The curve shows every threshold at once; where the curves of two models lie on one another,
# they differ by nothing but the threshold.

import matplotlib.pyplot as plt
from sklearn.metrics import PrecisionRecallDisplay

figure, axis = plt.subplots(layout="constrained")
for name in ["base model", "fine-tuned", "class weights"]:
    proba = models[name].predict_proba(X_test)[:, 1]
    PrecisionRecallDisplay.from_predictions(y_test, proba, name=name, ax=axis)
axis.set_title("the rare class, on new rows")
plt.show()

# %%
# scikit-learn's ``TunedThresholdClassifierCV`` chooses it by cross-validation;
# ``FixedThresholdClassifier`` takes one that you know. Here the threshold at which a false alarm
# costs a tenth of a miss:

from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import FixedThresholdClassifier

cautious = FixedThresholdClassifier(FrozenEstimator(models["fine-tuned"]), threshold=1 / 11)
said = cautious.fit(X_train, y_train).predict(X_test)
print(f"recall {recall_score(y_test, said):.2f}, precision {precision_score(y_test, said):.2f}")
