"""Measure how often a preview says what a full run says.

    python benchmarks/preview.py --data FOLDER [--tables NAME ...] [--time-limit 240]
                                 [--sample-size 10000] [--base-model mini] [--out FILE]

For every table both are run with the same seed. A delta of the full run counts where its 95 %
interval lies on one side of zero; the preview agrees where its own delta is within 20 % of that.
Where neither the sample size nor the time limit binds, a preview is the full run, and they agree by
construction: those tables are counted apart. A line of JSON per table is appended to the file, and
a table that has its line already is not run again.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from pathlib import Path
from typing import Any

os.environ.setdefault("TABPFN_DISABLE_TELEMETRY", "1")

import pandas as pd
import torch

from finetune_tabpfn.studies._preview import SAMPLE_SIZE, TIME_LIMIT, preview

TOLERANCE = 0.2


def run(path: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Preview a table and run it in full."""
    settings = {"target": "target", "base_model": arguments.base_model, "cache_dir": None}
    short = preview(
        path,
        sample_size=arguments.sample_size,
        time_limit=arguments.time_limit,
        say=print,
        **settings,
    )
    full = preview(path, full=True, say=print, **settings)
    return {"table": path.stem, "preview": short, "full": full}


def take_rows(cell: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a row per metric, and one for the combined delta."""
    short, full = cell["preview"], cell["full"]
    pairs = {
        name: (short["metrics"][name]["delta"], row["delta"], row["interval"])
        for name, row in full["metrics"].items()
    }
    pairs["combined"] = (
        short["combined_delta"],
        full["combined_delta"],
        full["combined_interval"],
    )
    cut = (
        short["candidate"]["stop_reason"] == "time_limit"
        or short["sample_size_used"] < full["sample_size_used"]
    )
    return [
        {
            "table": cell["table"],
            "metric": name,
            "preview": previewed,
            "full": said,
            "low": low,
            "high": high,
            "clear": low > 0 or high < 0,
            "within": abs(previewed - said) <= TOLERANCE * abs(said),
            "same side": (previewed > 0) == (said > 0),
            "cut": cut,
            "preview s": short["time_elapsed"],
            "full s": full["time_elapsed"],
        }
        for name, (previewed, said, (low, high)) in pairs.items()
    ]


def judge(rows: pd.DataFrame) -> str:
    """Say how often they agree."""
    lines = []
    for name, part in (
        ("all tables", rows),
        ("tables whose preview was cut by time or sample", rows[rows["cut"]]),
    ):
        clear = part[part["clear"]]
        lines.append(
            f"{name}: {part['table'].nunique()} tables, {len(part)} deltas, of which {len(clear)} "
            f"clear in the full run; of these {int(clear['within'].sum())} within 20 %, "
            f"{int(clear['same side'].sum())} on the same side of zero"
        )
    return "\n".join(lines)


def main() -> None:
    """Run the tables that are missing and judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="CSV files, column `target`")
    parser.add_argument("--tables", nargs="*", help="names without ending; all if not given")
    parser.add_argument("--time-limit", type=float, default=TIME_LIMIT, help="of a preview")
    parser.add_argument("--sample-size", type=int, default=SAMPLE_SIZE)
    parser.add_argument("--base-model", default="mini")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=Path("benchmark-output/preview.jsonl"))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    done = arguments.out.read_text().splitlines() if arguments.out.is_file() else []
    cells = [json.loads(line) for line in done]
    paths = {
        path.stem: path
        for path in sorted(arguments.data.glob("*.csv"))
        if "target" in pd.read_csv(path, nrows=0).columns
    }
    for name in arguments.tables or list(paths):
        if name not in [cell["table"] for cell in cells]:
            print(f"\n{name}", flush=True)
            cells.append(run(paths[name], arguments))
            with arguments.out.open("a") as file:
                file.write(json.dumps(cells[-1]) + "\n")
    rows = pd.DataFrame([row for cell in cells for row in take_rows(cell)])
    print(f"\n{rows.round(4).to_string(index=False)}\n\n{judge(rows)}")
    print(f"\n{platform.platform()}, {arguments.threads} threads, torch {torch.__version__}")


if __name__ == "__main__":
    main()
