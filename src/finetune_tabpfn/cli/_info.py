"""``finetune-tabpfn info``: what there is to work with here."""

from __future__ import annotations

import argparse
from typing import Any

from finetune_tabpfn.cli._information import information
from finetune_tabpfn.cli._options import answer


def run(arguments: argparse.Namespace) -> None:
    """Print it."""
    found = information()
    answer(arguments, "\n\n".join(_paragraphs(found)), found)


def _paragraphs(found: dict[str, Any]) -> list[str]:
    device, versions = found["device"], found["versions"]
    memory = device["free_memory_mb"]
    free = "" if memory is None else f", {memory / 1e3:.1f} GB free"
    installed = [f"{name} {number}" for name, number in versions.items() if number]
    absent = [name for name, number in versions.items() if not number]
    return [
        *(
            f'base_model="auto" for {task}: {auto["name"]}\n'
            f"  licence: {auto['licence']}\n"
            f"  because {auto['why']}\n"
            f"  file: {auto['path']}"
            for task, auto in found["auto"].items()
        ),
        _models(found),
        f"device: {device['device']} ({device['name']}), {device['threads']} threads{free}",
        f"versions: {', '.join(installed)}"
        + (f"\nnot installed: {', '.join(absent)}" if absent else ""),
    ]


def _models(found: dict[str, Any]) -> str:
    token = "at hand" if found["token"] else "none (TABPFN_TOKEN)"
    lines = [f"TabPFN's cache: {found['cache']}; token of Prior Labs: {token}"]
    for model in found["base_models"]:
        here = ", ".join(model["here"]) or ("after a login" if model["login"] else "not yet")
        lines.append(f"  {model['name']:<10}{here:<28}{model['licence']}")
    return "\n".join(lines)
