"""The report of a study: one HTML file that needs nothing else."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from finetune_tabpfn.models._export import now
from finetune_tabpfn.studies import _report_figures as figures
from finetune_tabpfn.studies._experiment import in_words
from finetune_tabpfn.studies._metrics import LOSSES
from finetune_tabpfn.studies._study_comparison import signed
from finetune_tabpfn.studies._study_records import Experiment, labels_of
from finetune_tabpfn.utils._files import save_whole
from finetune_tabpfn.utils._optional import require

StudyAnalyzer: TypeAlias = Any  # whose module imports this one
STYLE = """
:root { color-scheme: light; --ink: #1c2430; --soft: #5b6675; --line: #dde2e8; --mark: #2563a8; }
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: #fff; font: 16px/1.5 system-ui, sans-serif; }
main, header { max-width: 68rem; margin: 0 auto; padding: 0 1rem; }
header { padding-top: 2rem; border-bottom: 3px solid var(--mark); }
h1 { margin: 0; font-size: 1.7rem; overflow-wrap: anywhere; }
h2 { margin: 2.5rem 0 .6rem; font-size: 1.25rem; }
h3 { margin: 1.5rem 0 .4rem; font-size: 1rem; }
p { margin: .4rem 0 .8rem; max-width: 46rem; }
.soft { color: var(--soft); }
dl.verdicts { display: grid; gap: .9rem; }
dl.verdicts { grid-template-columns: repeat(auto-fit, minmax(17rem, 1fr)); }
dl.verdicts div { border: 1px solid var(--line); border-radius: .5rem; padding: .7rem .9rem; }
dt { font-weight: 600; }
dd { margin: .2rem 0 0; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: right; }
th { white-space: nowrap; background: #f5f7f9; }
td:first-child, th:first-child { text-align: left; }
td:first-child { min-width: 9rem; overflow-wrap: anywhere; }
td { max-width: 26rem; }
img { display: block; max-width: 100%; height: auto; }
.figures { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; }
.figures > * { max-width: 100%; }
footer { margin: 3rem 0 2rem; color: var(--soft); font-size: .85rem; }
"""


LARGEST_GAPS = 10


def write_report(analyzer: StudyAnalyzer, path: Path) -> Path:
    """Write the report of a study, whole or not at all."""
    require("matplotlib", "The report of a study")
    text = "".join(_page(analyzer))
    save_whole(path, lambda part: part.write_text(text, encoding="utf-8"))
    return path


def _page(analyzer: StudyAnalyzer) -> Iterator[str]:
    title = f"Study {escape(analyzer.study.base_dir.name)}"
    yield "<!DOCTYPE html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'>\n"
    yield "<meta name='viewport' content='width=device-width, initial-scale=1'>\n"
    yield f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
    yield f"<header><h1>{title}</h1>{_summary(analyzer)}</header>\n<main>\n"
    yield _verdicts(analyzer)
    if analyzer.done:
        yield from _scores(analyzer)
        yield from _hyperparameters(analyzer)
        yield from _noise(analyzer)
        yield from _curves(analyzer)
    yield from _data(analyzer)
    yield from _everything(analyzer)
    yield f"<footer>Written by finetune-tabpfn on {now()}.</footer>\n</main>\n</body>\n</html>\n"


def _summary(analyzer: StudyAnalyzer) -> str:
    status = pd.Series([one.status for one in analyzer.experiments], dtype=str).value_counts()
    counts = ", ".join(f"{number} {name}" for name, number in status.items()) or "none yet"
    tables = len(labels_of(analyzer.experiments))
    hours = sum(one.seconds for one in analyzer.experiments) / 3600
    direction = "smaller" if analyzer.metric.partition("_")[2] in LOSSES else "greater"
    return (
        f"<p class='soft'>Experiments: {counts}; tables: {tables}; {hours:.2g} hours of fits. "
        f"Compared by {escape(analyzer.metric)}: {direction} is better.</p>"
    )


def _verdicts(analyzer: StudyAnalyzer) -> str:
    said = "".join(
        f"<div><dt>{escape(question)}</dt><dd>{escape(answer)}</dd></div>\n"
        for question, answer in analyzer.verdicts().items()
    )
    return f"<h2>What the study says</h2>\n<dl class='verdicts'>\n{said}</dl>\n"


def _scores(analyzer: StudyAnalyzer) -> Iterator[str]:
    yield "<h2>Scores</h2>\n"
    name = analyzer.metric.partition("_")[2]
    for label, experiments in _by_table(analyzer).items():
        best = experiments[0]
        yield f"<h3>{escape(label)}</h3>\n"
        tested = best.test.get(name)
        said = f", on the test rows {tested:.5g}" if tested is not None else ""
        value = best.metric(analyzer.metric)
        yield (
            f"<p>Best: {escape(best.id)} with {escape(in_words(best.parameters))}: "
            f"{escape(analyzer.metric)} {value:.5g}{said}.</p>\n"
        )
        svg = figures.draw_scores(experiments, analyzer.metric)
        yield _figure(svg, f"{name} of the experiments on {label}, the best first")


def _hyperparameters(analyzer: StudyAnalyzer) -> Iterator[str]:
    found = analyzer.importance()
    yield f"<h2>Hyperparameters</h2>\n<p>{escape(found.verdict)}</p>\n"
    if len(found.table):
        svg = figures.draw_effects(found)
        yield _beside(_figure(svg, "How much each hyperparameter matters"), _table(found.table))
    for label, experiments in _by_table(analyzer).items():
        varied = [n for n in found.table["hyperparameter"] if _takes_several(experiments, n)]
        if varied:
            yield f"<h3>{escape(label)}</h3>\n<div class='figures'>\n"
            for name in varied:
                of_it = [one for one in experiments if name in one.parameters]
                values = [one.parameters[name] for one in of_it]
                metrics = [figures._number(one.metric(analyzer.metric)) for one in of_it]
                svg = figures.draw_setting(name, values, metrics, analyzer.metric)
                yield _figure(svg, f"{analyzer.metric} against {name}")
            yield "</div>\n"
    pairs = analyzer.interactions()
    if len(pairs):
        yield "<h3>Interactions</h3>\n"
        yield _table(pairs)


def _noise(analyzer: StudyAnalyzer) -> Iterator[str]:
    gaps = analyzer.overfitting()
    if len(gaps):
        yield (
            "<h2>Overfitting</h2>\n<p>Each third of the training rows, predicted by the tuned "
            "weights from the other two (of series the end of the training part, forecast from "
            "what lies before), against the validation rows. On the line both are the same.</p>\n"
        )
        metric = analyzer.metric.partition("_")[2]
        largest = gaps.sort_values("gap", ascending=False).head(LARGEST_GAPS)
        svg = figures.draw_gaps(gaps, metric)
        yield _beside(_figure(svg, "Training against validation metric"), _table(largest))
    seeds = analyzer.seeds()
    if len(seeds):
        yield "<h2>Seeds against settings</h2>\n"
        yield _table(seeds)


def _curves(analyzer: StudyAnalyzer) -> Iterator[str]:
    curves = analyzer.learning_curves()
    if not len(curves):
        return
    yield "<h2>Learning curves</h2>\n<p>The best in colour, the others gray.</p>\n"
    for label, experiments in _by_table(analyzer).items():
        fit = experiments[0].folds[0]["fit"]
        svg = figures.draw_curves(
            curves[curves["table"] == label],
            [one.id for one in experiments],
            str(fit.get("scoring", "score on the hold-out")),
        )
        yield f"<h3>{escape(label)}</h3>\n"
        yield _figure(svg, f"Scores of the fits to {label} after every evaluation")


def _data(analyzer: StudyAnalyzer) -> Iterator[str]:
    known = {label: found for label, found in analyzer.insights().items() if found}
    if known:
        yield "<h2>Data</h2>\n"
    for label, found in known.items():
        rows = ", ".join(f"{number:,} {part}" for part, number in found["rows"].items())
        types = ", ".join(f"{number} {kind}" for kind, number in found["types"].items())
        gaps = found["missing"]["share"]
        yield f"<h3>{escape(label)}</h3>\n<p>Rows: {rows}. Columns: {found['columns']} ({types}). "
        shift = "" if "regimes" in found else escape(_of_shift(found["shift"]))
        yield f"Missing cells: {gaps:.1%}. {shift}</p>\n"
        if "regimes" in found:
            yield from _regimes(found["regimes"], found["correlations"]["autocorrelation"])
        if found["constant_columns"]:
            yield f"<p>Always the same: {escape(', '.join(found['constant_columns']))}.</p>\n"
        target = found["target"]
        if "counts" in target:
            yield f"<p>{_of_classes(target)}</p>\n"
            yield _figure(figures.draw_classes(target["counts"]), f"Classes of {label}")
        else:
            yield f"<p>{_of_quantity(target)}</p>\n"
        correlations = found["correlations"]
        yield f"<p>Correlation with the target: {escape(correlations['measure'])}.</p>\n"
        yield "<div class='figures'>\n"
        for name, heading in (
            ("with_target", "with the target"),
            ("between_columns", "Spearman"),
            ("missing", "missing"),
        ):
            pairs = found["missing"]["columns"] if name == "missing" else correlations[name]
            if pairs:
                yield _table(pd.DataFrame({"column": list(pairs), heading: list(pairs.values())}))
        yield "</div>\n"


def _regimes(found: dict[str, Any], autocorrelation: dict[str, Any]) -> Iterator[str]:
    rows = [
        {"series": name, **row, "high_periods": len(row["high_periods"])}
        for name, row in found["series"].items()
    ]
    yield (
        "<p>Volatility: of the changes from one period to the next. High: the share of periods "
        "with 1.5 times the usual one. Drift: how far the mean of the "
        f"{escape(found['against'])} periods lies from that of those before, in standard "
        "deviations.</p>\n"
    )
    yield _table(pd.DataFrame(rows))
    lags = ", ".join(f"{lag}: {_text(value)}" for lag, value in autocorrelation.items())
    yield f"<p>Correlation of the target with itself so many periods before: {lags}.</p>\n"


def _of_shift(found: dict[str, Any] | None) -> str:
    if found is None:
        return "There are no rows of another table to compare with."
    if found["auc"] is None:
        return f"Too few rows to tell training and {found['against']} rows apart."
    said = (
        f"A classifier tells training rows from {found['against']} rows with an AUC of "
        f"{found['auc']:.2f} (p = {found['p_value']:.2g})"
    )
    if found["p_value"] < 0.05:
        return f"{said}: they differ, most in {', '.join(found['columns'])}."
    return f"{said}: no shift is seen."


def _of_classes(target: dict[str, Any]) -> str:
    return (
        f"{target['classes']} classes, the smallest with {target['smallest_class']} rows, the "
        f"largest with {target['imbalance']:.3g} times as many; balance {target['balance']:.2f} "
        "(1: all alike)."
    )


def _of_quantity(target: dict[str, Any]) -> str:
    quantiles = ", ".join(f"{q}: {value:.4g}" for q, value in target["quantiles"].items())
    return (
        f"Target: mean {target['mean']:.4g}, standard deviation {target['std']:.4g}, skewness "
        f"{target['skewness']:.2f}, kurtosis {target['kurtosis']:.2f} (both 0 of a normal "
        f"distribution); quantiles {quantiles}."
    )


def _everything(analyzer: StudyAnalyzer) -> Iterator[str]:
    table = analyzer.compare()
    if not len(table):
        return
    failed = [one for one in analyzer.experiments if one.status == "failed"]
    if failed:
        yield "<h2>Failed</h2>\n<ul>\n"
        for one in failed:
            yield f"<li>{escape(one.id)}: {escape(str(one.error))}</li>\n"
        yield "</ul>\n"
    yield "<h2>All experiments</h2>\n"
    given = [str(name) for name in table if str(name).startswith("hp_")]
    same = [name for name in given if table[name].map(repr).nunique() == 1]
    if same:
        values = {name.removeprefix("hp_"): table[name].iloc[0] for name in same}
        yield f"<p>All have {escape(in_words(values))}.</p>\n"
    yield _table(table.drop(columns=["name", "task", "time", "error", *same]))


def _by_table(analyzer: StudyAnalyzer) -> dict[str, list[Experiment]]:
    """Return the experiments of each table that have the metric, the best first."""
    labels = labels_of(analyzer.experiments)
    found: dict[str, list[Experiment]] = {}
    for one in analyzer.done:
        if signed(one, analyzer.metric) is not None:
            found.setdefault(labels[one.table["fingerprint"]], []).append(one)
    return {
        label: sorted(several, key=lambda one: -figures._number(signed(one, analyzer.metric)))
        for label, several in found.items()
    }


def _takes_several(experiments: list[Experiment], name: str) -> bool:
    return len({repr(one.parameters[name]) for one in experiments if name in one.parameters}) > 1


def _figure(svg: str, what: str) -> str:
    data = base64.b64encode(svg.encode()).decode()
    return f"<img alt='{escape(what, quote=True)}' src='data:image/svg+xml;base64,{data}'>\n"


def _beside(*parts: str) -> str:
    return f"<div class='figures'>\n{''.join(parts)}</div>\n"


def _table(table: pd.DataFrame) -> str:
    with pd.option_context("display.max_colwidth", None):  # or long cells are cut
        html = table.map(_text).to_html(index=False, border=0, escape=True)
    return f"<div class='scroll'>{html}</div>\n"


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return "-"
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, (float, np.floating)) else str(value)
