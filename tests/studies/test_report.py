"""The report of a study: whole, self-contained, and nothing in it is taken for HTML."""

from html.parser import HTMLParser

import numpy as np
import pytest

from finetune_tabpfn.studies import StudyAnalyzer
from finetune_tabpfn.utils._optional import MissingLibraryError
from made_up_study import experiment

VOID = ("meta", "img", "br", "link", "input", "hr")


class Page(HTMLParser):
    """Reads a page and holds it against what a browser expects."""

    def __init__(self, text):
        super().__init__()
        self.open, self.images, self.links, self.text = [], [], [], ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.links += [value for name, value in attrs if name in ("href", "src", "action")]
        if tag == "img":
            self.images.append(attributes)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def page_of(folder):
    text = StudyAnalyzer(folder).report(folder / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []
    return page


@pytest.fixture
def studied(tmp_path):
    rng = np.random.default_rng(0)
    folder = tmp_path / "a study"
    for number in range(12):
        parameters = {
            "learning_rate": float(rng.choice([1e-5, 1e-4, 1e-3])),
            "tuning": str(rng.choice(["full", "norm"])),
            "random_state": number % 2,
        }
        experiment(folder, number, parameters, 0.5 + 0.1 * rng.random())
    return folder


def test_a_report_needs_nothing_but_itself(studied):
    page = page_of(studied)
    assert all(link.startswith("data:image/svg+xml;base64,") for link in page.links)
    assert len(page.images) >= 6
    assert all(image["alt"] for image in page.images)
    for heading in ("What the study says", "Hyperparameters", "Learning curves", "All experiments"):
        assert heading in page.text
    assert "Compared by validation_log_loss: smaller is better." in page.text
    assert "made_011" in page.text


@pytest.mark.slow
def test_the_same_study_gives_the_same_figures(studied):
    assert page_of(studied).links == page_of(studied).links


def test_what_a_user_wrote_is_no_html(studied):
    experiment(studied, 12, {"class_weight": {"<i>": 2}}, 0.5, notes="<script>alert(1)</script>")
    experiment(studied, 13, {}, 0.5, status="failed", error="<b>no</b>", validation={}, folds=[])
    page = page_of(studied)
    assert "<script>alert(1)</script>" in page.text  # as text
    assert "<b>no</b>" in page.text


@pytest.mark.parametrize("n_experiments", [0, 1])
def test_a_report_of_next_to_nothing_says_so(n_experiments, tmp_path):
    tmp_path = tmp_path / "study"
    for number in range(n_experiments):
        experiment(tmp_path, number, {}, 0.5)
    assert f"Too thin to say: {n_experiments} runs" in page_of(tmp_path).text


def test_a_report_names_the_library_that_it_lacks(studied, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(MissingLibraryError, match="The report of a study needs the library"):
        page_of(studied)
    assert not (studied / "report.html").exists()
