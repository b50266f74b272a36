"""Work in several processes that are forked from this one, as torchrun would start them."""

import os
import pickle
import socket
import time
from pathlib import Path
from tempfile import TemporaryDirectory


def together(work, size=2, wait=20, **environment):
    """Return what `work(rank)` returns in each process, or the exception that it raised.

    None for a process that ended without a word.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {
        "WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "FINETUNE_TABPFN_WAIT": str(wait),
        **environment,
    }
    with TemporaryDirectory() as folder:
        processes = []
        for rank in range(size):
            pid = os.fork()
            if pid == 0:
                os.environ.update(shared, RANK=str(rank), LOCAL_RANK=str(rank))
                _work(work, rank, Path(folder) / str(rank))
            processes.append(pid)
        for pid in processes:
            os.waitpid(pid, 0)
        files = [Path(folder) / str(rank) for rank in range(size)]
        return [pickle.loads(file.read_bytes()) if file.exists() else None for file in files]


def _work(work, rank, file):
    try:
        try:
            found = work(rank)
        except BaseException as error:
            found = error
        file.write_bytes(pickle.dumps(found))
    finally:
        time.sleep(0.2)  # the first process holds the address book of the others
        os._exit(0)
