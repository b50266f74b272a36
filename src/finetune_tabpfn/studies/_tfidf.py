"""Columns of text as numbers: TF-IDF, reduced to a few components."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import Pipeline, make_pipeline

CATEGORIES_AT_MOST = 30  # of a column of up to so many different texts tabpfn makes categories
WORDS_AT_LEAST = 2.0  # on average: names and codes of one word are no text


def text_columns(table: pd.DataFrame) -> list[str]:
    """Return the columns of free text: many different cells, of two words and more on average."""
    found = []
    for name, column in table.items():
        if isinstance(column.dtype, pd.CategoricalDtype) or not pd.api.types.is_string_dtype(
            column
        ):
            continue
        cells = column.dropna().astype(str)
        words = cells.map(lambda cell: len(cell.split())).mean()
        if cells.nunique() > CATEGORIES_AT_MOST and words >= WORDS_AT_LEAST:
            found.append(str(name))
    return found


class TextComponents:
    """Turns columns of text into components of their TF-IDF weights.

    Parameters
    ----------
    columns : sequence of str
        The columns of text. The others stay as they are.
    n_components : int
        For each column; fewer where it has no more words than that.
    random_state : int

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"note": ["red car", "blue car", "red bike"], "price": [1, 2, 3]})
    >>> TextComponents(["note"], n_components=2).fit(table).transform(table).columns.tolist()
    ['price', 'note_tfidf_0', 'note_tfidf_1']
    """

    def __init__(
        self, columns: Sequence[str], n_components: int = 16, random_state: int = 0
    ) -> None:
        if n_components < 1:
            raise ValueError(f"n_components={n_components!r} must be 1 or more.")
        self.columns, self.n_components = list(columns), n_components
        self.random_state = random_state
        self._pipelines: dict[str, Pipeline] = {}

    def fit(self, table: pd.DataFrame) -> TextComponents:
        """Learn words and components from training rows.

        Raises
        ------
        ValueError
            For a column that is not there or holds no words.
        """
        for name in self.columns:
            if name not in table.columns:
                columns = ", ".join(map(str, table.columns[:20]))
                raise ValueError(f"There is no column {name!r}; the columns are {columns}.")
            words = TfidfVectorizer(sublinear_tf=True)
            try:
                n_words = words.fit_transform(_cells(table[name])).shape[1]
            except ValueError as error:  # an empty vocabulary
                raise ValueError(
                    f"Column {name!r} cannot be turned into TF-IDF: {error}."
                ) from None
            components = TruncatedSVD(min(self.n_components, n_words), random_state=0)
            components.set_params(random_state=self.random_state)
            self._pipelines[name] = make_pipeline(words, components).fit(_cells(table[name]))
        return self

    def transform(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return a table with components instead of the columns of text."""
        parts = [table.drop(columns=self.columns)]
        for name, pipeline in self._pipelines.items():
            values = pipeline.transform(_cells(table[name]))
            names = [f"{name}_tfidf_{number}" for number in range(values.shape[1])]
            parts.append(pd.DataFrame(values, columns=names, index=table.index))
        return pd.concat(parts, axis=1)


def _cells(column: pd.Series) -> pd.Series:
    """Return cells as text; missing ones are texts without words."""
    return column.astype(object).map(str, na_action="ignore").fillna("")
