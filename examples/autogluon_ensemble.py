"""
In an ensemble of AutoGluon
===========================

AutoGluon fits many models within a time, bags them, and weighs them into one. Fine-tuned TabPFN
can be one of them. A network errs on other rows than trees do, which is what makes an ensemble
better than its members.

AutoGluon is not part of this package's extras. Where it is missing, this example says how to
install it.
"""

# %%
# Is AutoGluon here?
# ------------------

import importlib.util

HERE = importlib.util.find_spec("autogluon") is not None
if not HERE:
    print('This example needs AutoGluon: pip install "autogluon.tabular[lightgbm]>=1.6,<1.7"')

# %%
# A table with an unbalanced target
# ---------------------------------

from sklearn.model_selection import train_test_split

from finetune_tabpfn.synthetic import make_table

X, y = make_table(900, 6, noise=0.3, imbalance=0.5, random_state=0)
train, test = train_test_split(X.assign(target=y), train_size=400, random_state=0)

# %%
# Fit
# ---
# The class is passed among the ``hyperparameters``, its settings beside it: parameters have the
# names that they have in files. The time that AutoGluon gives bounds the whole of each fit.


def fit_ensemble(folder):
    """Fit trees, boosting and fine-tuned TabPFN, and return AutoGluon's predictor."""
    from autogluon.tabular import TabularPredictor

    from finetune_tabpfn.automl import FinetunedTabPFNModel

    predictor = TabularPredictor("target", path=folder, eval_metric="log_loss", verbosity=0)
    return predictor.fit(
        train,
        hyperparameters={
            "RF": {},
            "GBM": {},
            FinetunedTabPFNModel: {"base_model": "mini", "max_steps": 30, "n_estimators": 2},
        },
        num_bag_folds=2,
        num_bag_sets=1,
        num_cpus=1,
        time_limit=90,
        ag_args_ensemble={"fold_fitting_strategy": "sequential_local"},
    )


# %%
# Compare
# -------
# The leaderboard has AutoGluon's scores, which are greater when better, on rows that decided
# nothing.

import tempfile

if HERE:
    with tempfile.TemporaryDirectory() as folder:
        predictor = fit_ensemble(folder)
        columns = ["model", "score_test", "score_val", "fit_time", "pred_time_test"]
        board = predictor.leaderboard(test)[columns]
        print(board.round(3).to_string(index=False))
        weights = predictor.info()["model_info"]["WeightedEnsemble_L2"]["children_info"]
        for name, child in weights.items():
            print(name, child.get("model_weights", ""))
    best = board.loc[board["score_test"].idxmax(), "model"]
    print(f"\nBest on new rows: {best}.")
