"""The one door to tabpfn: nothing else in this package imports it.

tabpfn changes its private names between releases; only this folder knows them. Written against
tabpfn 9.2.
"""

# before tabpfn, which imports tqdm as well, and in a notebook without ipywidgets with a warning
import finetune_tabpfn.utils._progress  # noqa: F401
from finetune_tabpfn._tabpfn._batch import Batch, loss_of
from finetune_tabpfn._tabpfn._checkpoints import (
    cached_path,
    default_version,
    download,
    has_token,
    load_weights,
    read_licence,
    version_of,
    write_checkpoint,
)
from finetune_tabpfn._tabpfn._devices import copied_to_cpu, is_elsewhere, moved
from finetune_tabpfn._tabpfn._init import new_network
from finetune_tabpfn._tabpfn._network import (
    Blueprint,
    ConstantTableError,
    Specs,
    TabPFN,
    load,
    load_fit,
    on_its_own,
)
from finetune_tabpfn._tabpfn._predict import embed, n_fitted_rows, predict_target
from finetune_tabpfn._tabpfn._prepare import prepare
from finetune_tabpfn._tabpfn._table import Member, Prediction, PreparedTable
from finetune_tabpfn._tabpfn._trainable import attention_for_many_shapes, only_trained

__all__ = [
    "Batch",
    "Blueprint",
    "ConstantTableError",
    "Member",
    "Prediction",
    "PreparedTable",
    "Specs",
    "TabPFN",
    "attention_for_many_shapes",
    "cached_path",
    "copied_to_cpu",
    "default_version",
    "download",
    "embed",
    "has_token",
    "is_elsewhere",
    "load",
    "load_fit",
    "load_weights",
    "loss_of",
    "moved",
    "n_fitted_rows",
    "new_network",
    "on_its_own",
    "only_trained",
    "predict_target",
    "prepare",
    "read_licence",
    "version_of",
    "write_checkpoint",
]
