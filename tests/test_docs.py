"""The pages of docs/ as they stand, without building them; `make docs` does that."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
MADE_BY_THE_BUILD = ("auto_examples/", "api/", "notebooks/")
TOCTREE = re.compile(r"(?ms)^```\{toctree\}\n(.*?)^```")
FENCED = re.compile(r"(?ms)^(```+|::::?).*?^\1$")


def anchors_of(page):
    """Names of the headings of a page, as myst makes them."""
    headings = re.findall(r"(?m)^#+ (.*)$", FENCED.sub("", page.read_text(encoding="utf-8")))
    plain = [re.sub(r"[^\w\- ]", "", heading).strip().lower() for heading in headings]
    return {re.sub(r"\s", "-", heading) for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_of_a_page_lead_somewhere(page):
    text = FENCED.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", text)):
        if "://" in target or target.startswith("mailto:"):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name) if name else page
        assert file.exists(), f"{page.name} links to {target}"
        if anchor and file.suffix == ".md" and file.parent == DOCS:
            assert anchor in anchors_of(file), f"{page.name} links to {target}"


def test_every_page_is_in_a_toctree():
    listed = {"index"}
    for page in PAGES:
        for tree in TOCTREE.findall(page.read_text(encoding="utf-8")):
            listed |= {line.strip() for line in tree.splitlines() if line and line[0] != ":"}
    names = {page.stem for page in PAGES}
    assert names - listed == set()
    assert {name for name in listed - names if not name.startswith(MADE_BY_THE_BUILD)} == set()


def test_no_output_is_typed():
    """What a command prints is made by the build: a block with a prompt would be typed."""
    for page in PAGES:
        assert not re.search(r"(?m)^(\$|>>>) ", page.read_text(encoding="utf-8")), page.name
