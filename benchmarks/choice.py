"""Which weights should be deployed after a fine-tuning? Rules compared on the same runs.

    python benchmarks/choice.py [--data FOLDER] [--splits 1] [--steps 150] [--out FOLDER]

Every run is made once, with a hold-out of 20 % and no early stopping. Of its weights (raw, and as
exponential moving average) at several steps, mixed with the base model's, the predictions on
hold-out and test set are kept in a file; the rules then choose by the hold-out alone and are
judged by the test set. A run that has its file already is not made again.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TABPFN_DISABLE_TELEMETRY", "1")

import numpy as np
import pandas as pd
import torch
from sklearn.model_selection import train_test_split

from _tables import Table, bundled, from_folder
from finetune_tabpfn import FinetunedTabPFNClassifier, FinetunedTabPFNRegressor
from finetune_tabpfn.training._callbacks import Callback
from finetune_tabpfn.training._loop import ema_decay_at
from finetune_tabpfn.training._state import TrainState, copy_weights, mix_weights

DECAY = 0.95
KEPT = (0.1, 0.2, 0.35, 0.5, 0.75, 1.0)  # of the evaluations of a run
SHARES = (0.25, 0.5, 1.0)  # of the tuned weights, mixed with the base's


class Recorder(Callback):
    """Keeps the weights of every evaluation, raw and averaged over the steps."""

    def on_train_begin(self, state: TrainState) -> None:
        """Begin with the base's weights."""
        self.evaluations: list[tuple[int, dict[str, Any]]] = []
        self.scores: list[float] = []
        self.base = copy_weights(state.model)
        self.mean = copy_weights(state.model)

    def after_step(self, state: TrainState) -> None:
        """Move the average on."""
        decay = ema_decay_at(state.step - 1, DECAY)
        self.mean = mix_weights(copy_weights(state.model), self.mean, decay)

    def after_evaluation(self, state: TrainState) -> None:
        """Keep both."""
        if state.history[-1].evaluation:
            weights = {"raw": copy_weights(state.model), "ema": self.mean}
            self.evaluations.append((state.step, weights))
            self.scores.append(state.history[-1].score)

    def mean_of_best(self, count: int) -> dict[str, Any]:
        """Return the mean of the averages of the evaluations that scored best."""
        mean: dict[str, Any] = {}
        for taken, place in enumerate(np.argsort(self.scores)[::-1][:count]):
            weights = self.evaluations[place][1]["ema"]
            mean = mix_weights(mean, weights, 1 / (taken + 1)) if mean else weights
        return mean


def run(table: Table, seed: int, arguments: Any) -> dict[str, Any]:
    """Fine-tune once and predict with every candidate."""
    X, X_test, y, y_test = table.split(seed, arguments.max_train, max_test=1000)
    classes = table.task == "classification"
    X, X_val, y, y_val = train_test_split(
        X, y, test_size=0.2, stratify=y if classes else None, random_state=seed
    )
    recorder = Recorder()
    estimator = FinetunedTabPFNClassifier if classes else FinetunedTabPFNRegressor
    model = estimator(
        base_model="mini",
        patience=None,
        max_steps=arguments.steps,
        learning_rate=arguments.learning_rate,
        callbacks=[recorder],
        random_state=seed,
        device="cpu",
    ).fit(X, y, X_val=X_val, y_val=y_val)
    rows = pd.concat([X_val, X_test])
    predict = model.predict_proba if classes else model.predict
    network = model.predictor_.models_[0]
    predictions = {}
    for name, weights in candidates(recorder).items():
        network.load_state_dict(weights)
        predictions[name] = np.asarray(predict(rows), dtype=np.float64)
    targets = np.concatenate([y_val, y_test])
    if classes:
        targets = np.searchsorted(model.classes_, targets)
    return {"task": table.task, "n_val": len(X_val), "y": targets, **predictions}


def candidates(recorder: Recorder) -> dict[str, dict[str, Any]]:
    """Return the weights to predict with, as "kind step share"."""
    named = {"base": recorder.base}
    last = len(recorder.evaluations) - 1
    for number in dict.fromkeys(round(share * last) for share in KEPT if last >= 0):
        step, weights = recorder.evaluations[number]
        for kind, share in itertools.product(weights, SHARES):
            if share == 1.0 or kind == "ema":
                named[f"{kind} {step} {share}"] = mix_weights(recorder.base, weights[kind], share)
    for share in SHARES if last >= 0 else ():
        mean = recorder.mean_of_best(3)
        named[f"best3 {last} {share}"] = mix_weights(recorder.base, mean, share)
    return named


def losses(cell: dict[str, Any], name: str) -> np.ndarray:
    """Return the loss of every row: its log-loss, or its squared error."""
    predicted, y = cell[name], cell["y"]
    if cell["task"] == "regression":
        return (predicted - y) ** 2
    return -np.log(np.clip(predicted[np.arange(len(y)), y], 1e-7, 1))


Rule = Callable[[dict[str, np.ndarray]], str]


def best(
    kinds: tuple[str, ...], shares: tuple[float, ...], errors: float, few: float = 0.0
) -> Rule:
    """Return the rule: lowest loss on the hold-out, if lower than the base's by standard errors.

    With `few`, more of them on a hold-out of few rows, where a gain is seldom real.
    """

    def rule(held_out: dict[str, np.ndarray]) -> str:
        named = [
            name
            for name in held_out
            if name != "base" and name.split()[0] in kinds and float(name.split()[2]) in shares
        ]
        if not named:
            return "base"
        chosen = min(named, key=lambda name: held_out[name].mean())
        gain = held_out["base"] - held_out[chosen]
        error = gain.std() / np.sqrt(len(gain))
        asked = errors * np.sqrt(1 + few / len(gain))
        return chosen if gain.mean() > asked * error else "base"

    return rule


def half_unless(errors: float, over_base: float = 0.0, few: float = 0.0, trusted: int = 0) -> Rule:
    """Return the rule: half-way to the best average, all the way if clearly better there.

    With `trusted`, never all the way on a hold-out of fewer rows.
    """

    def rule(held_out: dict[str, np.ndarray]) -> str:
        half, full = (best(("ema",), (share,), over_base, few)(held_out) for share in (0.5, 1.0))
        gain = held_out[half] - held_out[full]
        asked = errors * np.sqrt(1 + few / len(gain))
        clearly = gain.mean() > asked * gain.std() / np.sqrt(len(gain))
        return full if clearly and len(gain) >= trusted else half

    return rule


def by_rows(errors: float, few: float, trusted: int) -> Rule:
    """Return the rule: the best average, on a hold-out of fewer rows half-way there."""

    def rule(held_out: dict[str, np.ndarray]) -> str:
        share = 1.0 if len(held_out["base"]) >= trusted else 0.5
        return best(("ema",), (share,), errors, few)(held_out)

    return rule


def last(kind: str, share: float) -> Rule:
    """Return the rule: the last weights, whatever the hold-out says."""

    def rule(held_out: dict[str, np.ndarray]) -> str:
        wanted = [n for n in held_out if n.startswith(kind) and float(n.split()[2]) == share]
        return wanted[-1] if wanted else "base"

    return rule


RULES: dict[str, Rule] = {
    "last raw": last("raw", 1.0),
    "last ema": last("ema", 1.0),
    "last ema, half": last("ema", 0.5),
    "best raw": best(("raw",), (1.0,), 0.0),
    "best raw, 1 s.e.": best(("raw",), (1.0,), 1.0),
    "best ema": best(("ema",), (1.0,), 0.0),
    "best ema, 1 s.e.": best(("ema",), (1.0,), 1.0),
    "best ema, 2 s.e.": best(("ema",), (1.0,), 2.0),
    "mean of the 3 best": best(("best3",), (1.0,), 0.0),
    "mean of the 3 best, half": best(("best3",), (0.5,), 0.0),
    "mean of the 3 best, 1 s.e.": best(("best3",), (1.0,), 1.0),
    "mean of the 3 best, half, 1 s.e.": best(("best3",), (0.5,), 1.0),
    "best ema, half": best(("ema",), (0.5,), 0.0),
    "best ema, half, 1 s.e.": best(("ema",), (0.5,), 1.0),
    "half, or full by 1/2 s.e.": half_unless(0.5),
    "half, or full by 1 s.e.": half_unless(1.0),
    "half, or full, each by 1/2 s.e.": half_unless(0.5, 0.5),
    "the same, by more on few rows": half_unless(0.5, 0.5, few=200),
    "the same, half only on few rows": half_unless(0.5, 0.5, few=200, trusted=100),
    "full, half on few rows (default)": by_rows(0.5, few=200, trusted=100),
    "half, or full, each by 1 s.e.": half_unless(1.0, 1.0),
    "half, or full by 2 s.e.": half_unless(2.0),
    "best mix": best(("ema",), SHARES, 0.0),
    "best mix, 1/2 s.e.": best(("ema",), SHARES, 0.5),
    "best mix, 1 s.e.": best(("ema",), SHARES, 1.0),
    "best mix, 2 s.e.": best(("ema",), SHARES, 2.0),
    "best of all": best(("raw", "ema"), SHARES, 0.0),
}


def judge(cells: dict[str, dict[str, Any]]) -> pd.DataFrame:
    """Return, per rule, what it came to on the test sets."""
    rows = []
    for cell in cells.values():
        names = [name for name in cell if name not in ("task", "n_val", "y")]
        n_val = int(cell["n_val"])
        all_losses = {name: losses(cell, name) for name in names}
        held_out = {name: loss[:n_val] for name, loss in all_losses.items()}
        test = {name: loss[n_val:] for name, loss in all_losses.items()}
        root = 0.5 if cell["task"] == "regression" else 1.0
        for rule, choose in RULES.items():
            chosen = choose(held_out)
            change = test[chosen] - test["base"]
            error = change.std() / np.sqrt(len(change))
            rows.append(
                {
                    "rule": rule,
                    "ratio": (test[chosen].mean() / test["base"].mean()) ** root,
                    "better": chosen != "base" and change.mean() < 0,
                    "worse": change.mean() > 0,
                    "worse by 1 s.e.": chosen != "base" and change.mean() > error,
                    "base kept": chosen == "base",
                }
            )
    by_rule = pd.DataFrame(rows).groupby("rule", sort=False)
    table = by_rule.mean().drop(columns="ratio")
    table.insert(0, "median ratio", by_rule["ratio"].median())
    table.insert(1, "mean log ratio", by_rule["ratio"].apply(lambda r: np.log(r).mean()))
    table.insert(2, "worst ratio", by_rule["ratio"].max())
    return table


def main() -> None:
    """Make the runs that are missing and judge the rules."""
    arguments = _parser().parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(arguments.threads)
    arguments.out.mkdir(parents=True, exist_ok=True)
    tables = list(bundled())
    if arguments.data is not None:
        tables += from_folder(arguments.data)
    if arguments.tables:
        tables = [table for table in tables if table.name in arguments.tables]
    cells = {}
    for seed, table in itertools.product(range(arguments.splits), tables):
        file = arguments.out / f"{table.name.replace(' ', '_')}-{seed}.npz"
        if not file.is_file():
            print(f"{table.name} {seed}", flush=True)
            np.savez_compressed(file, **run(table, seed, arguments))
        cells[file.stem] = dict(np.load(file).items())
    for minimum in (0, 500):
        chosen = {k: v for k, v in cells.items() if 4 * v["n_val"] >= minimum}
        print(f"\n{len(chosen)} runs on tables of {minimum} training rows and more\n")
        if chosen:
            print(judge(chosen).round(3).to_string())
    print(f"\n{platform.platform()}, {arguments.threads} threads, torch {torch.__version__}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of CSV files with a column `target`")
    parser.add_argument("--tables", nargs="*", help="names of tables, all by default")
    parser.add_argument("--splits", type=int, default=1)
    parser.add_argument("--steps", type=int, default=150, help="of each run")
    parser.add_argument("--learning-rate", type=float, default=None)
    parser.add_argument("--max-train", type=int, default=1500, help="rows, hold-out included")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=Path("benchmark-output/choice"))
    return parser


if __name__ == "__main__":
    main()
