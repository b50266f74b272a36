"""Around a fit: tables made ready, models evaluated, and whether fine-tuning pays previewed."""

from finetune_tabpfn.studies._cleaning import clean
from finetune_tabpfn.studies._evaluate import evaluate
from finetune_tabpfn.studies._prepare import prepare
from finetune_tabpfn.studies._preview import preview

__all__ = ["clean", "evaluate", "prepare", "preview"]
