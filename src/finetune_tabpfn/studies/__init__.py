"""Around a fit: tables made ready, models evaluated, fine-tuning previewed, settings searched."""

from finetune_tabpfn.studies._analyzer import StudyAnalyzer
from finetune_tabpfn.studies._cleaning import clean
from finetune_tabpfn.studies._evaluate import evaluate
from finetune_tabpfn.studies._prepare import prepare
from finetune_tabpfn.studies._preview import preview
from finetune_tabpfn.studies._search_space import Range, SearchSpace, search_space
from finetune_tabpfn.studies._study import Study
from finetune_tabpfn.studies._study_records import Experiment

__all__ = [
    "Experiment",
    "Range",
    "SearchSpace",
    "Study",
    "StudyAnalyzer",
    "clean",
    "evaluate",
    "prepare",
    "preview",
    "search_space",
]
