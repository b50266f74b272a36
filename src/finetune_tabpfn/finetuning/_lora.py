"""LoRA: low-rank updates beside the frozen matrices of a network, through the peft library.

Source: Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, ICLR 2022.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from finetune_tabpfn.finetuning._settings import LoRA
from finetune_tabpfn.training._callbacks import Callback
from finetune_tabpfn.training._state import TrainState, Weights
from finetune_tabpfn.utils._optional import require
from finetune_tabpfn.utils._random_state import untouched_random_state
from finetune_tabpfn.utils._text import to_json

if TYPE_CHECKING:
    from peft import LoraConfig

FROM_PEFT = ("r", "lora_alpha", "lora_dropout", "target_modules")  # of its LoraConfig
NAME = "default"  # peft's, of the only adapter
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"  # peft's, in a folder
PREFIX = "base_model.model."  # of peft, before the names of the network
NOTES = ("base_path", "base_sha256", "task")  # in the weights' metadata; peft has no place


@dataclass(frozen=True)
class Adapter:
    """The low-rank updates that a fine-tuning came to.

    Attributes
    ----------
    config : dict
        peft's configuration.
    weights : dict of str to Tensor
        ``<module>.lora_A.weight`` of shape (rank, in), ``<module>.lora_B.weight`` (out, rank).
    base_model, base_path, base_sha256 : str
        What they belong to: name or path, relative where that leads to it from their folder; where
        it lay; hash of the file.
    task : str
        What they were trained for.
    """

    config: dict[str, Any]
    weights: Weights
    base_model: str = ""
    base_path: str = ""
    base_sha256: str = ""
    task: str = ""

    def scaled(self, share: float) -> Adapter:
        """Return the adapter whose updates are that share of these."""
        weights = {
            name: share * tensor if ".lora_B." in name else tensor
            for name, tensor in self.weights.items()
        }
        return replace(self, weights=weights)

    def added_to(self, base: Weights) -> Weights:
        """Return a network's weights with the updates added to its matrices."""
        scale = self.config["lora_alpha"] / self.config["r"]
        result = dict(base)
        for name, up in self.weights.items():
            if ".lora_B." in name:
                down = self.weights[name.replace(".lora_B.", ".lora_A.")]
                target = name.replace(".lora_B.", ".")
                result[target] = base[target] + scale * (up @ down).to(base[target])
        return result

    def save(self, folder: Path) -> None:
        """Write the two files of peft's format into a folder, which is made if need be."""
        folder.mkdir(parents=True, exist_ok=True)
        config = self.config | {
            "base_model_name_or_path": self.base_model,
            "inference_mode": True,
            "peft_type": "LORA",
        }
        (folder / CONFIG).write_text(to_json(config, sort_keys=True) + "\n")
        named = {PREFIX + name: tensor.cpu().contiguous() for name, tensor in self.weights.items()}
        notes = {name: getattr(self, name) for name in NOTES}
        save_file(named, folder / WEIGHTS, {"format": "pt", **notes})


def mean_adapter(several: Sequence[Adapter]) -> Adapter:
    """Return the adapter whose updates are the mean of those of others.

    Its rank is the sum of theirs: the matrices stand beside each other.
    """
    first, count = several[0], len(several)
    if count == 1:
        return first
    config = first.config | {name: count * first.config[name] for name in ("r", "lora_alpha")}
    weights = {
        name: torch.cat([its.weights[name] for its in several], dim=0)
        if ".lora_A." in name
        else torch.cat([its.weights[name] / count for its in several], dim=1)
        for name in first.weights
    }
    return replace(first, config=config, weights=weights)


def is_adapter(path: Path) -> bool:
    """Tell whether a path is a folder with an adapter."""
    return (path / CONFIG).is_file() and (path / WEIGHTS).is_file()


def load_adapter(folder: Path) -> Adapter:
    """Read what `Adapter.save` wrote into a folder.

    Raises
    ------
    ValueError
        When the files cannot be read.
    """
    try:
        config = json.loads((folder / CONFIG).read_text())
        with safe_open(folder / WEIGHTS, "pt") as file:
            weights = {name.removeprefix(PREFIX): file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            notes = file.metadata() or {}
        known = {name: notes.get(name, "") for name in NOTES}
        return Adapter(config, weights, base_model=config["base_model_name_or_path"], **known)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{str(folder)!r} holds no adapter that can be read: {reason}.") from error


class Adapted:
    """A network while adapters stand beside its matrices.

    Attributes
    ----------
    parameters : list of torch.nn.Parameter
        Of the adapters, the only ones that are trained.
    callbacks : list of Callback
        What the training loop needs besides.
    """

    def __init__(self, model: nn.Module, config: LoraConfig, callbacks: list[Callback]) -> None:
        self.callbacks = callbacks
        self.config = config.to_dict()
        self.config["target_modules"] = sorted(config.target_modules or ())
        self.parameters = [weight for weight in model.parameters() if weight.requires_grad]

    def adapter(self, weights: Weights) -> Adapter:
        """Return the adapter in the weights of the network as it is trained."""
        named = {
            name.replace(f".{NAME}.", "."): tensor
            for name, tensor in weights.items()
            if ".lora_" in name
        }
        return Adapter(json.loads(to_json(self.config)), named)

    def plain(self, weights: Weights) -> Weights:
        """Return the weights of the network without adapters that predicts the same."""
        base = {
            name.replace(".base_layer.", "."): tensor
            for name, tensor in weights.items()
            if ".lora_" not in name
        }
        return self.adapter(weights).added_to(base)


@contextmanager
def adapted(model: nn.Module, lora: Any, seed: int = 0) -> Iterator[Adapted]:
    """Put adapters beside linear layers of a network, for a while, and freeze the rest.

    Parameters
    ----------
    model : torch.nn.Module
        Changed in place, and restored; the names in its state are different meanwhile.
    lora : LoRA or peft.LoraConfig
    seed : int
        Of what is dropped.

    Raises
    ------
    ImportError
        When peft is not installed.
    """
    require("peft", 'tuning="lora"')
    from peft import LoraModel

    trainable = [weight for weight in model.parameters() if weight.requires_grad]
    config = _config(lora, model)
    dropout = config.lora_dropout
    with untouched_random_state():
        torch.manual_seed(0)  # the updates begin at zero whatever the first matrices are
        tuner = LoraModel(model, {NAME: config}, NAME)
    before = torch.get_rng_state()
    try:
        yield Adapted(model, config, [SeededDropout(seed)] if dropout else [])
    finally:
        if dropout:  # which has drawn from it
            torch.set_rng_state(before)
        tuner.unload()
        for weight in trainable:
            weight.requires_grad_(True)


def _config(lora: Any, model: nn.Module) -> LoraConfig:
    """Return peft's configuration; all linear layers unless it names some."""
    from peft import LoraConfig

    if isinstance(lora, LoRA):
        given: dict[str, Any] = {
            "r": lora.rank,
            "lora_alpha": lora.alpha,
            "lora_dropout": lora.dropout,
        }
        return LoraConfig(**given, target_modules=linear_layers(model))
    own = {name: getattr(lora, name) for name in FROM_PEFT}
    return LoraConfig(**{**own, "target_modules": own["target_modules"] or linear_layers(model)})


def check_peft_config(config: Any) -> None:
    """Raise for settings of peft's `LoraConfig` that an adapter of ours does not have."""
    plain = type(config)().to_dict()
    for name, value in config.to_dict().items():
        if name not in FROM_PEFT and value != plain.get(name):
            raise ValueError(
                f"tuning=LoraConfig({name}={value!r}) cannot be used; {', '.join(FROM_PEFT)} can."
            )


def linear_layers(model: nn.Module) -> list[str]:
    """Return the names of a network's linear layers."""
    return [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]


class SeededDropout(Callback):
    """Makes what dropout draws a function of the seed and the step alone.

    Parameters
    ----------
    seed : int
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def before_step(self, state: TrainState) -> None:
        """Seed the step."""
        torch.manual_seed(self.seed * 1_000_003 + state.step)
