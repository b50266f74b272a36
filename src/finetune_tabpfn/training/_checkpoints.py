"""The state of a training on disk: the newest few of a fit, and how a killed fit goes on.

A folder holds `fit.json`, which says what is fitted (hashes of the rows and of the base model, the
parameters, the seed), and a folder per fold with its checkpoints. A checkpoint is read with torch's
`weights_only`: loading it runs no code.
"""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from finetune_tabpfn.training._callbacks import Callback
from finetune_tabpfn.training._loop import logger
from finetune_tabpfn.training._state import Evaluation, HistoryRow, TrainState, new_state, swap
from finetune_tabpfn.training._stop_reasons import GOES_ON
from finetune_tabpfn.utils._files import damage_of, remove_parts, save_whole
from finetune_tabpfn.utils._warn import warn

Resume = bool | Literal["auto"]
KEPT = 3  # checkpoints: an older one serves where the newest is damaged
MANIFEST = "fit.json"
NAME = re.compile(r"checkpoint-(\d+)\.pt")
# parameters that do not change what a training comes to at a step: how long it goes on, what is
# recorded, how it is deployed
FREE = {
    "base_model", "max_steps", "time_limit", "patience", "callbacks", "loggers", "log_dir",
    "checkpoint", "checkpoint_every", "resume", "verbose", "fit_mode", "device",
}  # fmt: skip
PLAIN = (
    "step", "learning_rate", "best_evaluation", "best_step", "last_reduction", "rate_share",
    "losses", "grad_norms", "stop_reason",
)  # fmt: skip
STATE = {
    "model", "set_aside", "optimizer", "scaler", "best_weights", "history", "base", "best", *PLAIN
}  # fmt: skip


def pack(state: TrainState, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return the whole state of a run after an evaluation, as tensors, numbers and text.

    Where there is an average of the weights, it stands in for them at that moment and the weights
    themselves are set aside.
    """
    return {
        "model": state.model.state_dict(),
        "set_aside": state.ema_weights,
        "optimizer": optimizer.state_dict(),
        "scaler": None if state.scaler is None else state.scaler.state_dict(),
        "best_weights": state.best_weights if state.best_evaluation else None,
        "history": [asdict(row) for row in state.history],
        "base": _pack_evaluation(state.base),
        "best": _pack_evaluation(state.best),
        **{name: getattr(state, name) for name in PLAIN},
    }


def unpack(
    saved: Mapping[str, Any], model: nn.Module, optimizer: torch.optim.Optimizer
) -> TrainState:
    """Return the state of a run that :func:`pack` made, with model and optimizer as they were.

    Parameters
    ----------
    saved : mapping
    model : torch.nn.Module
        With the weights that the run began with.
    optimizer : torch.optim.Optimizer
        Over the same parameters.
    """
    state = new_state(model)
    model.load_state_dict(saved["model"])
    optimizer.load_state_dict(saved["optimizer"])
    parameters = [weight for group in optimizer.param_groups for weight in group["params"]]
    ema_weights = [tensor.to(parameters[0].device) for tensor in saved["set_aside"]]
    swap(ema_weights, parameters)
    scaler = torch.amp.GradScaler(parameters[0].device.type, enabled=bool(saved["scaler"]))
    scaler.load_state_dict(saved["scaler"] or {})
    return replace(
        state,
        ema_weights=ema_weights,
        scaler=scaler,
        best_weights=saved["best_weights"] or state.base_weights,
        history=[HistoryRow(**row) for row in saved["history"]],
        base=_unpack_evaluation(saved["base"]),
        best=_unpack_evaluation(saved["best"]),
        **{name: saved[name] for name in PLAIN},
    )


def _pack_evaluation(found: Evaluation | None) -> dict[str, Any] | None:
    if found is None:
        return None
    arrays = [torch.from_numpy(array) for array in found.predictions]
    return {"score": found.score, "metrics": found.metrics, "predictions": arrays}


def _unpack_evaluation(saved: Mapping[str, Any] | None) -> Evaluation | None:
    if saved is None:
        return None
    arrays = [tensor.numpy() for tensor in saved["predictions"]]
    return Evaluation(saved["score"], saved["metrics"], arrays)


class Checkpoints:
    """The checkpoints of one fit.

    Parameters
    ----------
    folder : str, pathlib.Path or None
        None: nothing is written and nothing found.
    resume : bool or "auto"
        Whether to go on from what the folder holds. False refuses a folder that holds something;
        True begins anew where nothing is there yet and refuses what belongs to another fit or is
        damaged; "auto" begins anew then, with a warning, and replaces what was there.
    interval : int
        Evaluations between two checkpoints; an evaluation that improves is written in any case.

    Raises
    ------
    ValueError
        When the folder cannot be used.
    """

    def __init__(
        self, folder: str | Path | None, resume: Resume = False, interval: int = 1
    ) -> None:
        self.folder = None if folder is None else Path(folder).expanduser()
        self.resume, self.interval = resume, interval
        self.manifest: dict[str, Any] = {}
        if self.folder is not None and (self.folder / MANIFEST).exists():
            self._open(self.folder / MANIFEST)

    def _open(self, manifest: Path) -> None:
        if self.resume is False:
            raise ValueError(
                f"checkpoint={str(self.folder)!r} holds the checkpoints of an earlier fit; "
                'Checkpoint(folder, resume=True) or "auto" goes on from them, another folder '
                "begins anew."
            )
        try:
            found = json.loads(manifest.read_text(encoding="utf-8"))
            if not isinstance(found, dict):
                raise ValueError("it holds no mapping")
            self.manifest = found
        except (OSError, ValueError) as error:
            self._refuse(f"a damaged {MANIFEST} ({error})")

    @property
    def resumed(self) -> bool:
        """Whether there is something to go on from."""
        return self.folder is not None and any(self._files())

    def seed(self, default: int) -> int:
        """Return the seed of the fit that is continued, else `default`."""
        return int(self.manifest.get("seed", default))

    def begin(self, describe: Callable[[], Mapping[str, Any]]) -> None:
        """Make sure that what is there belongs to this fit, and write what it is.

        Parameters
        ----------
        describe : callable
            Returns JSON-like data, if it is wanted: "seed", "data", "base_model" and
            "parameters", a mapping, must agree; the rest is only recorded.
        """
        if self.folder is None:
            return
        fit = json.loads(json.dumps(dict(describe())))
        difference = _difference(self.manifest, fit) if self.manifest else None
        if difference is not None:
            self._refuse(difference)
        if not self.manifest:
            for file in self._files():
                file.unlink()
        self.manifest = fit
        remove_parts(self.folder)
        text = json.dumps(fit, indent=2) + "\n"
        try:
            save_whole(self.folder / MANIFEST, lambda part: part.write_text(text, encoding="utf-8"))
        except OSError as error:
            raise ValueError(
                f"checkpoint={str(self.folder)!r} cannot be written to: {error}."
            ) from error

    def fold(self, number: int) -> FoldCheckpoints:
        """Return the checkpoints of one fold."""
        folder = None if self.folder is None else self.folder / f"fold-{number}"
        identity = json.dumps([self.manifest.get("seed"), *_origin(self.manifest)])
        return FoldCheckpoints(folder, identity, self.resume == "auto", self.interval)

    def _files(self) -> Iterator[Path]:
        assert self.folder is not None
        return (path for path in self.folder.glob("fold-*/*.pt") if NAME.fullmatch(path.name))

    def _refuse(self, what: str) -> None:
        """Say why what the folder holds cannot be continued; "auto" begins anew."""
        sentence = f"checkpoint={str(self.folder)!r} holds {what}"
        if self.resume != "auto":
            raise ValueError(
                f'{sentence}; resume="auto" would begin anew there, another folder keeps both.'
            )
        warn(f"{sentence}; the fit begins anew.")
        self.manifest = {}


def _origin(fit: Mapping[str, Any]) -> list[Any]:
    """Return the hashes of the rows and of the base model, and the adapters added to it."""
    base = fit.get("base_model", {})
    return [fit.get("data"), base.get("sha256"), base.get("adapters")]


def same_fit(fit: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is the same in two fits that make the same steps, by its name."""
    data, *base = _origin(fit)
    others = {name: value for name, value in fit["parameters"].items() if name not in FREE}
    return {"data": data, "base_model": base, **others}


def _difference(there: Mapping[str, Any], fit: Mapping[str, Any]) -> str | None:
    """Say in what the fit of a folder differs from this one, None if in nothing that matters."""
    (data, *base), (now_data, *now_base) = _origin(there), _origin(fit)
    if data != now_data:
        return "the checkpoints of another table"
    if base != now_base:
        return "checkpoints that began with another base model"
    before, now = there.get("parameters", {}), fit["parameters"]
    for name in sorted({*before, *now} - FREE):
        if before.get(name) != now.get(name):
            return (
                f"the checkpoints of a fit with {name}={before.get(name)!r}, not {now.get(name)!r}"
            )
    return None


@dataclass
class FoldCheckpoints:
    """The checkpoints of one training.

    Attributes
    ----------
    folder : pathlib.Path or None
    identity : str
        Of the fit; a file that names another one is not loaded.
    lenient : bool
        Whether a damaged file is passed over with a warning instead of refused.
    interval : int
        Evaluations between two.
    """

    folder: Path | None = None
    identity: str = ""
    lenient: bool = False
    interval: int = 1
    failed: bool = field(default=False, init=False)

    def load(self) -> dict[str, Any] | None:
        """Return what the newest checkpoint holds: "settings" and "state"; None without one."""
        for path in self._newest_first():
            try:
                saved = _read(path)
            except (OSError, ValueError) as error:
                if not self.lenient:
                    raise ValueError(
                        f"{path} is damaged ({error}); without it the fit goes on from the "
                        'checkpoint before, and resume="auto" passes over it.'
                    ) from error
                warn(f"{path} is damaged ({error}) and passed over.")
                continue
            if saved["identity"] == self.identity:
                logger.info("going on from %s", path)
                return saved
            if not self.lenient:
                raise ValueError(f"{path} belongs to another fit; it is in the wrong folder.")
        return None

    def save(
        self, state: TrainState, optimizer: torch.optim.Optimizer, settings: Mapping[str, Any]
    ) -> None:
        """Write a checkpoint and remove the oldest; warn once where the disk does not take it."""
        assert self.folder is not None
        whole = pack(state, optimizer)
        saved = {"identity": self.identity, "settings": dict(settings), "state": whole}
        path = self.folder / f"checkpoint-{state.step}.pt"
        try:
            save_whole(path, lambda part: torch.save(saved, part))
            for old in list(self._newest_first())[KEPT:]:
                old.unlink(missing_ok=True)
        except (OSError, RuntimeError) as error:  # torch raises the latter for a full disk
            if not self.failed:
                reason = " ".join(str(error).split())[:200]
                warn(
                    f"A checkpoint could not be written to {self.folder} ({reason}); the fit goes "
                    "on, and earlier checkpoints are as they were.",
                )
            self.failed = True

    def callbacks(
        self, optimizer: torch.optim.Optimizer, settings: Callable[[], Mapping[str, Any]]
    ) -> list[Callback]:
        """Return the callback of the training loop that writes them, if they are wanted.

        Parameters
        ----------
        optimizer : torch.optim.Optimizer
        settings : callable
            Returns what else a resumed run needs.
        """
        return [] if self.folder is None else [_Writer(self, optimizer, settings)]

    def _newest_first(self) -> list[Path]:
        """Return the files by their step, which as text would sort 90 after 110."""
        if self.folder is None or not self.folder.is_dir():
            return []
        found = [(NAME.fullmatch(path.name), path) for path in self.folder.iterdir()]
        steps = [(int(match[1]), path) for match, path in found if match]
        return [path for _, path in sorted(steps, reverse=True)]


class _Writer(Callback):
    """Writes a checkpoint after an evaluation; the last callback, which knows if the run ends."""

    def __init__(
        self,
        checkpoints: FoldCheckpoints,
        optimizer: torch.optim.Optimizer,
        settings: Callable[[], Mapping[str, Any]],
    ) -> None:
        self.checkpoints, self.optimizer, self.settings = checkpoints, optimizer, settings

    def after_evaluation(self, state: TrainState) -> None:
        """Write it, if the evaluation improved or enough of them have passed."""
        number = state.history[-1].evaluation
        if (
            number == state.best_evaluation
            or number % self.checkpoints.interval == 0
            or state.stop_reason is not None
        ):
            self.checkpoints.save(state, self.optimizer, self.settings())


def is_over(saved: Mapping[str, Any]) -> bool:
    """Tell whether the run of a checkpoint had come to its own end."""
    reason = saved["stop_reason"]
    return reason is not None and not any(cause.ended(reason) for cause in GOES_ON)


def _read(path: Path) -> dict[str, Any]:
    """Read a checkpoint; ValueError for one that is damaged."""
    damage = damage_of(path)
    if damage is not None:
        raise ValueError(damage)
    try:
        loaded: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
    except pickle.UnpicklingError as error:
        raise ValueError("it holds more than tensors, numbers and text") from error
    except (EOFError, RuntimeError) as error:
        raise ValueError(" ".join(str(error).split())[:200]) from error
    if not isinstance(loaded, dict) or {"identity", "settings", "state"} - loaded.keys():
        raise ValueError("it is not a checkpoint of this package")
    if lacking := STATE - loaded["state"].keys():
        raise ValueError(f"it lacks {', '.join(sorted(lacking))}, as one of another version may")
    return loaded
