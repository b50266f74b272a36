"""Which file a base model is, under which licence, and how to get it.

Never opens a browser and never waits for a login: a gated file that is not in TabPFN's cache is
downloaded only with a token at hand.
"""

from __future__ import annotations

import functools
import hashlib
import math
import os
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

import torch

from finetune_tabpfn import _tabpfn
from finetune_tabpfn._tasks import Kind
from finetune_tabpfn.finetuning._lora import Adapter, is_adapter, load_adapter
from finetune_tabpfn.utils._warn import warn

MINI_FILES: dict[Kind, str] = {
    "classification": "mini-classifier-v3.safetensors",
    "regression": "mini-regressor-v3.safetensors",
}
APACHE = "Apache-2.0"
PRIOR_LABS = "Prior Labs License (Apache-2.0 with attribution)"
NON_COMMERCIAL = "Prior Labs non-commercial licence"
UNKNOWN = "unknown (a file of the user's)"
NEWER = "unknown (a version newer than this package; see https://priorlabs.ai)"
LICENCES = {
    "v2": PRIOR_LABS,
    "v2.5": NON_COMMERCIAL,
    "v2.6": NON_COMMERCIAL,
    "v3": NON_COMMERCIAL,
    "v3.5": NON_COMMERCIAL,
    "v3.5-fast": NON_COMMERCIAL,
}
NAMES = ("auto", "mini", *LICENCES)

# what failed in this process: a search of a hundred fits asks the network once
_failed_downloads: dict[tuple[str, Kind], tuple[str, float]] = {}  # and the seconds it was given


@dataclass(frozen=True)
class BaseModel:
    """A pretrained checkpoint.

    Attributes
    ----------
    name : str
        "mini", a version of TabPFN, or the path as the user gave it.
    path : pathlib.Path
    licence : str
    sha256 : str
        Of the file.
    adapters : tuple of pathlib.Path
        Folders of adapters that are added to its weights, in this order.
    """

    name: str
    path: Path
    licence: str
    sha256: str
    adapters: tuple[Path, ...] = ()

    @property
    def place(self) -> Path:
        """The file, or the folder of the last adapter."""
        return [self.path, *self.adapters][-1]

    def reference_from(self, folder: Path) -> str:
        """Return what leads to it from a folder.

        Its name, if it is known by one; a path from there, if it lies in that folder or beside it,
        so that all can be moved together; else where it lies.
        """
        folder = folder.resolve()
        if self.name in NAMES:
            return self.name
        if not self.place.is_relative_to(folder.parent):
            return str(self.place)
        way = Path(os.path.relpath(self.place, folder)).as_posix()
        return way if way.startswith("../") else f"./{way}"

    def load(self, kind: Kind, device: torch.device) -> _tabpfn.Specs:
        """Load the network, adapters added; one sentence for a file that holds none."""
        specs = _tabpfn.load(self.path, kind, device)
        for folder in self.adapters:
            weights = load_adapter(folder).added_to(specs.model.state_dict())
            specs.model.load_state_dict(weights)
        return specs


def resolve(
    base_model: str | Path, kind: Kind, *, download_timeout: float | None = None
) -> BaseModel:
    """Return the base model that a name or path stands for.

    Parameters
    ----------
    base_model : str or pathlib.Path
        "auto", "mini", "v2", "v2.5", "v2.6", "v3", "v3.5", "v3.5-fast", the path of a
        checkpoint, or the folder of an adapter that `save_adapter` wrote. "auto" is the version
        that a plain ``TabPFNClassifier()`` would use if its file is in TabPFN's cache already,
        else v2, from the cache or downloaded, else the mini model that ships with this package,
        with a warning.
    kind : {"classification", "regression"}
    download_timeout : float, optional
        Seconds that a download may take.

    Raises
    ------
    ValueError
        When a named version or path cannot be had.
    """
    if base_model == "auto":
        return _resolve_auto(kind, download_timeout)
    if base_model == "mini":
        return mini(kind)
    if isinstance(base_model, str) and base_model in LICENCES:
        return _resolve_version(base_model, kind, download_timeout)
    path = Path(base_model).expanduser()
    if is_adapter(path):
        return _resolve_adapter(path, kind, download_timeout)
    if not path.is_file():
        raise ValueError(
            f"base_model={str(base_model)!r} is neither a file nor one of {', '.join(NAMES)}."
        )
    return _describe(str(base_model), path, _tabpfn.read_licence(path) or UNKNOWN)


def mini(kind: Kind) -> BaseModel:
    """Return the shipped mini model of a task."""
    path = Path(str(resources.files("finetune_tabpfn"))) / "assets" / MINI_FILES[kind]
    return _describe("mini", path, APACHE)


def in_cache(kind: Kind) -> BaseModel | None:
    """Return what "auto" finds in TabPFN's cache: the usual version, else v2, else None."""
    for version in (_tabpfn.default_version(), "v2"):
        path = _tabpfn.cached_path(version, kind)
        if path.is_file():
            return _describe(version, path, LICENCES.get(version, NEWER))
    return None


def _resolve_adapter(folder: Path, kind: Kind, download_timeout: float | None) -> BaseModel:
    adapter = load_adapter(folder)
    if adapter.task not in ("", kind):
        raise ValueError(
            f"base_model={str(folder)!r} is an adapter for {adapter.task}, not for {kind}."
        )
    base = _base_of(adapter, folder, kind, download_timeout)
    if base.sha256 != adapter.base_sha256:
        raise ValueError(
            f"base_model={str(folder)!r} is an adapter of {adapter.base_model!r}, but that file is "
            f"not the one it was trained on (sha256 {base.sha256[:12]}, "
            f"not {adapter.base_sha256[:12]})."
        )
    return replace(base, name=str(folder), adapters=(*base.adapters, folder.resolve()))


def _base_of(
    adapter: Adapter, folder: Path, kind: Kind, download_timeout: float | None
) -> BaseModel:
    """Return what an adapter belongs to: where it lay, or beside the adapter if it was moved."""
    if adapter.base_model in NAMES:
        return resolve(adapter.base_model, kind, download_timeout=download_timeout)
    way = Path(adapter.base_model)
    lay = [folder / way, *([Path(adapter.base_path)] if adapter.base_path else [])]
    places = [*lay, folder / way.name, folder.parent / way.name]
    own = folder.resolve()
    found = [place for place in places if place.exists() and place.resolve() != own]
    if not found:
        raise ValueError(
            f"base_model={str(folder)!r} is an adapter of {way.name!r}, which is neither where it "
            f"was ({lay[-1]}) nor beside the adapter; put it into {str(folder)!r}."
        )
    bases = [resolve(place, kind, download_timeout=download_timeout) for place in found]
    return next((base for base in bases if base.sha256 == adapter.base_sha256), bases[0])


def _resolve_auto(kind: Kind, download_timeout: float | None) -> BaseModel:
    cached = in_cache(kind)
    if cached is not None:
        return cached
    if download_timeout is not None:
        download_timeout /= 2  # a network that does not answer leaves time to fine-tune mini
    problem = _try_download("v2", kind, download_timeout)
    if problem is None:
        return _resolve_version("v2", kind, download_timeout)
    warn(
        f'base_model="auto" falls back to the shipped mini model, since no full one is in '
        f"TabPFN's cache ({_tabpfn.cached_path('v2', kind).parent}) and downloading v2 failed "
        f"({problem}). To get a full one, run once with network access, or pass "
        'base_model="path/to/checkpoint". base_model="mini" silences this warning.',
    )
    return mini(kind)


def _resolve_version(version: str, kind: Kind, download_timeout: float | None) -> BaseModel:
    path = _tabpfn.cached_path(version, kind)
    if not path.is_file():
        problem = _try_download(version, kind, download_timeout)
        if problem is not None:
            raise ValueError(
                f"base_model={version!r} is not in TabPFN's cache ({path}) and cannot be "
                f"downloaded: {problem}."
            )
    return _describe(version, path, LICENCES[version])


def _try_download(version: str, kind: Kind, timeout: float | None) -> str | None:
    """Download a version into TabPFN's cache; return what went wrong, or None."""
    if LICENCES[version] == NON_COMMERCIAL and not _tabpfn.has_token():
        return (
            "its weights need a login: accept the licence at https://ux.priorlabs.ai and set "
            "the environment variable TABPFN_TOKEN"
        )
    seconds = math.inf if timeout is None else timeout
    problem, waited = _failed_downloads.get((version, kind), ("", 0.0))
    if seconds > 2 * waited:  # what failed in a short time may work in a long one
        found = _tabpfn.download(version, kind, timeout)
        if found is None:
            return None
        problem = found
        _failed_downloads[version, kind] = problem, seconds
    return problem


def _describe(name: str, path: Path, licence: str) -> BaseModel:
    path = path.resolve()
    stat = path.stat()
    return BaseModel(name, path, licence, _sha256(path, stat.st_mtime_ns, stat.st_size))


@functools.lru_cache(maxsize=32)
def _sha256(path: Path, modified: int, size: int) -> str:
    """Return the file's hash; time of change and size are there to notice another content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
