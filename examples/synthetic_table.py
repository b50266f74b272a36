"""Share a table without its rows: fine-tune on a synthetic twin, predict the real rows.

    python examples/synthetic_table.py

Takes a few seconds on two CPU cores.
"""

from sklearn.datasets import load_breast_cancer
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split

from finetune_tabpfn import FinetunedTabPFNClassifier
from finetune_tabpfn.synthetic import schema_of, table_from_schema

table = load_breast_cancer(as_frame=True).frame.iloc[:, -9:]
train, test = train_test_split(table, train_size=300, stratify=table["target"], random_state=0)

schema = schema_of(train, target="target")  # schema.to_yaml("cancer.yaml") is what one would share
X, y = table_from_schema(schema, n_rows=300, random_state=0)
print("two rows of nobody:\n", X.head(2).round(2).T.to_string(), "\n", sep="")

X_test, y_test = test.drop(columns="target"), test["target"]
for name, X_train, y_train in [
    ("the real rows", train.drop(columns="target"), train["target"]),
    ("the synthetic ones", X, y),
]:
    model = FinetunedTabPFNClassifier(base_model="mini", max_steps=20, random_state=0)
    model.fit(X_train, y_train)
    auc = roc_auc_score(y_test, model.predict_proba(X_test)[:, 1])
    print(f"fine-tuned on {name}: AUC {auc:.3f} on real rows")
