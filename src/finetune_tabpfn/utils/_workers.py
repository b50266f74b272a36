"""Who this process is among several: a process of torchrun, or a worker of joblib, Dask or Ray."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Mapping

SHARE = "FINETUNE_TABPFN_SHARE"  # "0": the processes of torchrun do not share their fits


class OtherProcessError(OSError):
    """Raised where another process of the fit has failed; its text says which, and of what."""


class LostProcessError(ConnectionError):
    """Raised where another process of the fit has ended or does not answer."""


def launched(environ: Mapping[str, str] = os.environ) -> tuple[int, int]:
    """Return the number of this process among those that share a fit, and how many there are.

    torchrun sets these variables. (0, 1) for a process that has its fits for itself: workers that
    such a process starts inherit the variables, and are none of torchrun's.
    """
    size, rank = _whole(environ.get("WORLD_SIZE")), _whole(environ.get("RANK"))
    if size is None or rank is None or size < 2 or "MASTER_ADDR" not in environ:
        return 0, 1
    if environ.get(SHARE) == "0" or worker_name() is not None:
        return 0, 1
    return rank, size


def worker_name() -> str | None:
    """Return the name of the worker that this is, None in a program of its own.

    A worker is one of several that compute at the same time: a process of joblib's or of
    multiprocessing's, a thread that is not the main one, a worker of Dask or Ray.
    """
    dask = _dask_name()
    if dask is not None:
        return f"dask-{dask}"
    if _is_in_ray():
        return f"ray-{os.getpid()}"
    process = multiprocessing.current_process().name
    if process != "MainProcess":
        return process
    thread = threading.current_thread()
    return None if thread is threading.main_thread() else thread.name


def worker_number(environ: Mapping[str, str] = os.environ) -> int | None:
    """Return which of the workers of this machine this is, from 0; None where nobody says.

    torchrun says it in LOCAL_RANK, a local cluster of Dask's by the names of its workers, and the
    processes of joblib and multiprocessing are numbered from 1.
    """
    name = worker_name()
    if name is None:
        return _whole(environ.get("LOCAL_RANK"))
    kind, _, number = name.rpartition("-")
    counted = _whole(number)
    if counted is None or kind in ("ray", "") or name == threading.current_thread().name:
        return None
    return counted if kind == "dask" else counted - 1


def gpu_of(number: int | None, n_gpus: int) -> int:
    """Return which of the GPUs that a worker sees is its own: they are dealt out in turn.

    A worker that sees only one, because Ray or dask-cuda have dealt them out, takes that one.
    """
    return 0 if number is None else number % n_gpus


def _dask_name() -> str | None:
    if "distributed" not in sys.modules:
        return None
    from distributed import get_worker

    try:
        return str(get_worker().name)
    except ValueError:  # this is no worker
        return None


def _is_in_ray() -> bool:
    ray = sys.modules.get("ray")
    if ray is None or not ray.is_initialized():
        return False
    return bool(ray.get_runtime_context().worker.mode == ray.WORKER_MODE)


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None
