"""Pretraining of small base models on tables drawn from a prior.

``python -m finetune_tabpfn.pretraining --help`` shows the command; docs/pretraining.md tells how
to pretrain a base model on a prior of your own.
"""

from finetune_tabpfn.pretraining._config import PretrainConfig
from finetune_tabpfn.pretraining._prior import CausalPrior, Prior, Tables
from finetune_tabpfn.pretraining._run import pretrain

__all__ = ["CausalPrior", "PretrainConfig", "Prior", "Tables", "pretrain"]
