"""Experiments with results that are made up, so that what there is to find is known."""

from finetune_tabpfn.studies import Experiment


def experiment(folder, number, parameters, loss, **others):
    """Write an experiment of a classification whose validation log-loss is given."""
    given = {
        "format": 1,
        "id": f"made_{number:03}",
        "name": "made",
        "status": "done",
        "time": f"2026-01-01T00:{number // 60:02}:{number % 60:02}+00:00",
        "seconds": 1.0,
        "notes": "",
        "table": {"label": "table", "fingerprint": "f" * 32},
        "task": "classification",
        "target": "y",
        "parameters": parameters,
        "train": {"log_loss": loss - 0.01, "accuracy": 0.9},
        "validation": {"log_loss": loss, "accuracy": 0.9},
        "validation_spread": {},
        "test": {"log_loss": loss + 0.01, "accuracy": 0.9},
        "folds": [{"fit": {"n_steps": 20, "best_step": 10, "stop_reason": "early_stopping"}}],
        "history": [
            {"fold": 0, "evaluation": 0, "step": 0, "train_loss": None, "score": -1.0},
            {"fold": 0, "evaluation": 1, "step": 10, "train_loss": 0.9, "score": -loss},
        ],
        "insights": {},
        "models": [],
        "error": None,
        "versions": {},
        "key": str(number),
        "search": None,
        "number": None,
        "folder": folder / f"made_{number:03}",
        **others,
    }
    made = Experiment(**given)
    made.save()
    return made
