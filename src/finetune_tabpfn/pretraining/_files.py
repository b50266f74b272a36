"""What a pretraining run keeps on disk: the model, its curve, the state to resume from."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from functools import partial
from importlib.metadata import version
from pathlib import Path

import torch
from torch import nn

from finetune_tabpfn import _tabpfn
from finetune_tabpfn.pretraining._config import PretrainConfig
from finetune_tabpfn.pretraining._optimizers import MuonAdamW
from finetune_tabpfn.training._callbacks import Callback
from finetune_tabpfn.training._checkpoints import pack, unpack
from finetune_tabpfn.training._state import TrainState
from finetune_tabpfn.utils._files import save_whole
from finetune_tabpfn.utils._text import to_json_line


@dataclass(frozen=True)
class Files:
    """What a run keeps on disk."""

    model: Path

    @property
    def state(self) -> Path:
        """The state to resume from."""
        return self.model.with_suffix(".state.pt")

    @property
    def curve(self) -> Path:
        """A line of JSON per evaluation."""
        return self.model.with_suffix(".jsonl")

    def save(self, config: PretrainConfig, state: TrainState, optimizer: MuonAdamW) -> None:
        """Write everything that a resumed run needs, whole or not at all."""
        # the best weights are in the model's own file
        whole = pack(state, optimizer) | {"best_weights": None}
        saved = {"config": asdict(config), "state": whole}
        save_whole(self.state, lambda part: torch.save(saved, part))
        rows = "".join(to_json_line(row.flat()) for row in state.history)
        save_whole(self.curve, lambda part: part.write_text(rows))

    def restore(
        self, config: PretrainConfig, model: nn.Module, optimizer: MuonAdamW
    ) -> TrainState | None:
        """Load model and optimizer as they were and return the loop's state, None without one."""
        if not self.state.is_file():
            return None
        saved = torch.load(self.state, weights_only=True, map_location="cpu")
        for name, value in asdict(config).items():
            if name == "seconds" and value is not None and saved["config"][name] is not None:
                continue
            if saved["config"][name] != value:
                raise ValueError(
                    f"{self.state} was written with {name}={saved['config'][name]!r}, "
                    f"not {value!r}; resume with the same settings or begin anew elsewhere."
                )
        return unpack(saved["state"], model, optimizer)


class Saver(Callback):
    """Saves the state, the curve and the best model after every evaluation."""

    def __init__(
        self,
        files: Files,
        config: PretrainConfig,
        specs: _tabpfn.Specs,
        optimizer: MuonAdamW,
        start: Path | None = None,
    ) -> None:
        self.files, self.config, self.specs, self.optimizer = files, config, specs, optimizer
        self.start = start and {
            "file": start.name,
            "sha256": hashlib.sha256(start.read_bytes()).hexdigest(),
        }

    def after_evaluation(self, state: TrainState) -> None:
        """Write all three."""
        self.files.save(self.config, state, self.optimizer)
        if state.best_evaluation != state.history[-1].evaluation:
            return
        metadata = {
            "licence": "Apache-2.0",
            "pretraining": asdict(self.config)
            | {"step": state.step, "run_seconds": state.seconds, "start": self.start},
            "validation_loss": -state.best_score,
            "versions": {"tabpfn": version("tabpfn"), "torch": torch.__version__},
            "date": datetime.now(timezone.utc).date().isoformat(),
        }
        write = partial(
            _tabpfn.write_checkpoint, self.specs, metadata=metadata, dtype=torch.float16
        )
        save_whole(self.files.model, write)
