"""Progress bars that fit where they are shown: a terminal, a file or a notebook."""

from __future__ import annotations

import warnings

from tqdm import TqdmWarning

with warnings.catch_warnings():
    # without ipywidgets the bar of a notebook is text, which needs no words
    warnings.simplefilter("ignore", TqdmWarning)
    from tqdm.auto import tqdm

__all__ = ["tqdm"]
