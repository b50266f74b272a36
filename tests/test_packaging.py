"""What is said of the package in several files is the same, and true where it is read."""

import re
from pathlib import Path

import yaml

from finetune_tabpfn.utils._documentation import DOCUMENTATION

ROOT = Path(__file__).parents[1]
PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
VERSION = re.search(r'^version = "(.+)"', PYPROJECT, flags=re.M)[1]
PYTHONS = re.findall(r"Python :: (3\.\d+)", PYPROJECT)


def test_links_of_the_readme_work_where_else_it_is_shown():
    links = re.findall(r"\]\(([^)]+)\)|^\[[^\]]+\]: (.+)$", README, flags=re.M)
    assert len(links) > 10
    assert all("".join(link).startswith("https://") for link in links)


def test_links_of_the_readme_lead_to_pages_that_there_are():
    for page in re.findall(rf"{DOCUMENTATION}([\w-]+)\.html", README):
        assert page == "getting-started" or (ROOT / "docs" / f"{page}.md").is_file(), page
    for name in re.findall(r"/main/([\w./-]+)", README):
        assert (ROOT / name).is_file(), name


def test_the_version_is_the_same_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == VERSION
    assert f"## {VERSION}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_every_python_that_is_promised_is_tried():
    workflow = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text(encoding="utf-8"))
    assert workflow["jobs"]["versions"]["strategy"]["matrix"]["python"] == PYTHONS
    assert f'requires-python = ">={PYTHONS[0]}"' in PYPROJECT
    assert ", ".join(f'"{python}"' for python in PYTHONS) in (
        ROOT / "scripts/try_versions.py"
    ).read_text(encoding="utf-8")
