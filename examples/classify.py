"""Fine-tune a classifier and compare it with the base model on rows that neither has seen.

    python examples/classify.py

Takes about half a minute on two CPU cores.
"""

from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import train_test_split

from finetune_tabpfn import FinetunedTabPFNClassifier

X, y = load_digits(return_X_y=True, as_frame=True)
X_train, X_test, y_train, y_test = train_test_split(
    X, y, train_size=800, stratify=y, random_state=0
)

tuned = FinetunedTabPFNClassifier(base_model="mini", time_limit=20, random_state=0)
tuned.fit(X_train, y_train)
base = FinetunedTabPFNClassifier(base_model="mini", max_steps=0, random_state=0)
base.fit(X_train, y_train)

for name, model in [("base", base), ("fine-tuned", tuned)]:
    proba = model.predict_proba(X_test)
    accuracy = accuracy_score(y_test, model.classes_[proba.argmax(axis=1)])
    print(f"{name:>10}: log-loss {log_loss(y_test, proba):.3f}, accuracy {accuracy:.3f}")

print(f"\n{tuned.n_steps_} steps, stopped by {tuned.stop_reason_}; a row per evaluation:")
print(tuned.history_.round(3).to_string(index=False))
