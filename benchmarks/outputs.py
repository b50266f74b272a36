"""Make the outputs that the documentation shows again, where a command stands above them.

    python benchmarks/outputs.py docs/command-line.md [--only demo info] [--dry-run]
    python benchmarks/outputs.py docs/prepare-evaluate-preview.md --data FOLDER

Every line `$ command` in a fenced block is run, in the order of the file and in one empty folder
beside copies of `examples/` and of the files of a folder, if one is given; what it prints replaces
what stood below it. A file that `cat` shows is written as shown, unless it is there. Of an output
that was cut by a line of `...`, as many lines are kept as before; of a progress bar, its last
state; a path is shortened to what does not depend on the machine. With `--only`, the blocks of
some sections alone, and of the commands above them those that leave files behind.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
CUT = "..."
FENCED = re.compile(r"(?ms)^```\n(\$ .*?)^```$")
HOME = re.compile(r"(?<![\w./])/[^\s'\"]*?(?=/(?:\.cache/|site-packages/))")


@dataclass(frozen=True)
class Shown:
    """A command and the output that a file shows below it."""

    command: str
    output: list[str]


def main() -> None:
    """Run the commands of the files and write the files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--only", nargs="*", metavar="SECTION", help="headings, as written")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="files that commands read")
    parser.add_argument("--dry-run", action="store_true", help="print the files instead")
    arguments = parser.parse_args()
    for file in arguments.files:
        with tempfile.TemporaryDirectory() as folder:
            if arguments.data is not None:
                shutil.copytree(arguments.data, folder, dirs_exist_ok=True)
            shutil.copytree(ROOT / "examples", Path(folder, "examples"))
            text = made_again(file.read_text(encoding="utf-8"), Path(folder), arguments.only)
        if arguments.dry_run:
            print(text)
        else:
            file.write_text(text, encoding="utf-8")


def made_again(text: str, folder: Path, only: list[str] | None) -> str:
    """Return a file's text with its outputs made again in a folder."""

    def block(match: re.Match[str]) -> str:
        heading = re.findall(r"(?m)^#+ (.*)$", text[: match.start()])[-1:]
        is_wanted = only is None or not {*heading}.isdisjoint(only)
        lines: list[str] = []
        for shown in commands(match[1]):
            write_shown(shown, folder)
            if not is_wanted and " --out " not in shown.command:
                lines += [f"$ {shown.command}", *shown.output]
                continue
            print(f"$ {shown.command}", flush=True)
            output = cut(run(shown.command, folder), shown.output)
            lines += [f"$ {shown.command}", *(output if is_wanted else shown.output)]
        return "\n".join(["```", *lines, "```"])

    return FENCED.sub(block, text)


def commands(block: str) -> Iterator[Shown]:
    """Yield the commands of a block and what it shows of each."""
    for part in re.split(r"(?m)^\$ ", block)[1:]:
        command, *output = part.rstrip("\n").split("\n")
        yield Shown(command, output)


def write_shown(shown: Shown, folder: Path) -> None:
    """Write the file whose content is shown, unless there is one."""
    name = re.fullmatch(r"cat (\S+)", shown.command)
    if name is not None and not Path(folder, name[1]).exists():
        content = "\n".join(shown.output).rstrip("\n") + "\n"
        Path(folder, name[1]).write_text(content, encoding="utf-8")


def run(command: str, folder: Path) -> list[str]:
    """Return the lines that a command prints, as one sees them in a terminal when it is over."""
    program = f"{sys.executable} -m finetune_tabpfn"
    done = subprocess.run(
        re.sub(r"(^|(?<=\| ))finetune-tabpfn\b", program, command),
        shell=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "COLUMNS": "140", "TERM": "dumb"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    lines = done.stdout.decode().rstrip("\n").split("\n")
    return [plain(line) for line in lines]


def plain(line: str) -> str:
    """Return a line as it stands in the end, with paths that are the same everywhere."""
    last = [state for state in line.rstrip("\r").split("\r") if state.strip()][-1:]
    text = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", "".join(last)).rstrip()
    text = text.replace(str(ROOT / "src"), "/site-packages").replace(str(ROOT), "")
    return HOME.sub(CUT, text.replace(" /site-packages", f" {CUT}/site-packages"))


def cut(lines: list[str], shown: list[str]) -> list[str]:
    """Return of an output what was shown of it before: as many lines of each part."""
    if CUT not in shown:
        return lines
    kept: list[str] = []
    at = 0
    for number, part in enumerate(parts(shown)):
        if number:
            kept.append(CUT)
            at = next((n for n in range(at, len(lines)) if alike(lines[n], part)), len(lines))
        kept += lines[at : at + len(part)]
        at += len(part)
    return kept


def parts(shown: list[str]) -> Iterator[list[str]]:
    """Yield the parts between the cuts."""
    part: list[str] = []
    for line in shown:
        if line == CUT:
            yield part
            part = []
        else:
            part.append(line)
    yield part


def alike(line: str, part: list[str]) -> bool:
    """Tell whether a part that was shown begins with a line like this one, but for its value."""
    return bool(part) and line.split(":")[0] == part[0].split(":")[0]


if __name__ == "__main__":
    main()
