"""
MLflow: compare fits
====================

Log fits into MLflow, nested below a run of your own, and compare them in one table.

Needs ``pip install "finetune-tabpfn[mlflow]"``.
"""

# %%
# Where runs go is said to MLflow, not to the estimator: a server, or as here a file.

import logging
import tempfile
from pathlib import Path

import mlflow

logging.getLogger("mlflow").setLevel(logging.WARNING)  # it tells of the tables that it makes
folder = Path(tempfile.mkdtemp())
mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
mlflow.create_experiment("friedman", artifact_location=(folder / "artifacts").as_uri())
mlflow.set_experiment("friedman")

# %%
# Three fits below one run
# ------------------------
# Each fit is a run of its own, nested in the one that is open. What you know besides, such as the
# error on test rows, you log into yours.

from sklearn.datasets import make_friedman1
from sklearn.metrics import root_mean_squared_error

from finetune_tabpfn import FinetunedTabPFNRegressor

X, y = make_friedman1(n_samples=600, n_features=5, noise=0.5, random_state=0)
X_train, y_train, X_test, y_test = X[:200], y[:200], X[200:], y[200:]

models = {}
with mlflow.start_run(run_name="learning rates"):
    for rate in [1e-5, 1e-4, 1e-3]:
        model = FinetunedTabPFNRegressor(
            base_model="mini",
            learning_rate=rate,
            max_steps=40,
            eval_interval=5,
            n_estimators=1,
            random_state=0,
            loggers="mlflow",
        )
        models[rate] = model.fit(X_train, y_train)
        error = root_mean_squared_error(y_test, model.predict(X_test))
        mlflow.log_metric("test RMSE", error, step=round(1e5 * rate))

# %%
# Compare
# -------
# ``mlflow ui --backend-store-uri sqlite:///...`` shows them in a browser; ``search_runs`` is the
# same as a table.

runs = mlflow.search_runs(filter_string="metrics.base_score < 0")
runs = runs.sort_values("metrics.best_score", ascending=False)
columns = ["params.parameters.learning_rate", "metrics.base_score", "metrics.best_score"]
columns += ["tags.deployed_weights", "tags.stop_reason"]
print(runs[columns].rename(columns=lambda name: name.split(".")[-1]).to_string(index=False))

# %%
# The curve of each, as MLflow has it.

import matplotlib.pyplot as plt

client = mlflow.MlflowClient()
figure, axis = plt.subplots(layout="constrained")
for _, run in runs.iterrows():
    curve = client.get_metric_history(run["run_id"], "evaluation/score")
    rate = run["params.parameters.learning_rate"]
    axis.plot([one.step for one in curve], [one.value for one in curve], label=f"rate {rate}")
axis.set(xlabel="step", ylabel="score on the hold-out (negated RMSE, greater is better)")
axis.legend()
plt.show()

# %%
# Keep the best
# -------------
# The fine-tuned network is one small file, which plain TabPFN loads as well. It belongs to the run
# that made it.

best = max(models.values(), key=lambda model: model.best_score_)
network = best.save_model(folder / "friedman-v3.safetensors")
client.log_artifact(runs.iloc[0]["run_id"], network)
kept = client.list_artifacts(runs.iloc[0]["run_id"])
print([f"{one.path}: {one.file_size / 1e6:.1f} MB" for one in kept])

# %%
# Clean up. In your own work the folder, or the server, is what you keep.

import shutil

shutil.rmtree(folder)
