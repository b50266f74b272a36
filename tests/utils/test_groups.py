"""Parameters in groups, as a notebook shows them."""

import re

import pytest

from finetune_tabpfn import Checkpoint, FinetunedTabPFNClassifier, FinetunedTabPFNForecaster
from finetune_tabpfn.forecasting import SeasonalNaive
from finetune_tabpfn.utils._groups import in_groups


def shown(estimator):
    return estimator._repr_mimebundle_()["text/html"]


def firsts(html):
    """Return what each row of the table of parameters begins with."""
    table = re.search("parameters-table.*?</table>", html, re.DOTALL)
    if table is None:
        pytest.skip("this scikit-learn shows no table of parameters")
    rows = re.findall("<tr.*?</tr>", table[0], re.DOTALL)
    return [re.sub("<[^>]*>", "  ", row).strip().partition("  ")[0].strip() for row in rows]


@pytest.mark.parametrize(
    "estimator",
    [
        FinetunedTabPFNClassifier(base_model="mini", training={"weight_decay": 0.1}),
        FinetunedTabPFNClassifier(checkpoint=Checkpoint("state")),
        FinetunedTabPFNForecaster(),
    ],
)
def test_a_notebook_shows_parameters_in_groups(estimator):
    said = firsts(shown(estimator))
    wanted = ["fine-tuning", "base_model", "validation", "scoring", "prediction", "n_estimators"]
    order = [said.index(word) for word in [*wanted, "log_dir", "others", "verbose"]]
    assert order == sorted(order)
    assert set(estimator.get_params(deep=False)) <= set(said)


def test_other_estimators_have_no_headings():
    assert "others" not in firsts(shown(SeasonalNaive()))


@pytest.mark.parametrize(
    "html",
    [
        "<pre>FinetunedTabPFNClassifier()</pre>",
        '<table class="parameters-table"><tbody><div>base_model</div></tbody></table>',
        '<table class="settings"><tbody><tr><td>base_model</td></tr></tbody></table>',
    ],
)
def test_what_scikit_learn_may_show_another_day_stays_as_it_is(html):
    assert in_groups(html) == html
