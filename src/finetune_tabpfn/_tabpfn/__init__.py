"""The one door to tabpfn: nothing else in this package imports it.

tabpfn changes its private names between releases; only this folder knows them. Written against
tabpfn 9.2.
"""

from finetune_tabpfn._tabpfn.averaging import embed, n_fitted_rows, predict_mixture
from finetune_tabpfn._tabpfn.blank import new_network
from finetune_tabpfn._tabpfn.files import (
    cached_path,
    default_version,
    download,
    has_token,
    load_weights,
    read_licence,
    version_of,
    write_checkpoint,
)
from finetune_tabpfn._tabpfn.layers import only_trained
from finetune_tabpfn._tabpfn.network import (
    Blueprint,
    ConstantTableError,
    Specs,
    TabPFN,
    copied_to_cpu,
    load,
    load_fit,
    moved,
)
from finetune_tabpfn._tabpfn.prepared import Batch, Member, PreparedTable, prepare

__all__ = [
    "Batch",
    "Blueprint",
    "ConstantTableError",
    "Member",
    "PreparedTable",
    "Specs",
    "TabPFN",
    "cached_path",
    "copied_to_cpu",
    "default_version",
    "download",
    "embed",
    "has_token",
    "load",
    "load_fit",
    "load_weights",
    "moved",
    "n_fitted_rows",
    "new_network",
    "only_trained",
    "predict_mixture",
    "prepare",
    "read_licence",
    "version_of",
    "write_checkpoint",
]
