"""Tables in dataset repositories of the Hugging Face Hub, through huggingface_hub."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from finetune_tabpfn.data._io import READERS
from finetune_tabpfn.utils._optional import require

if TYPE_CHECKING:
    from huggingface_hub import HfApi

SCHEME = "hf://datasets/"
_ADDRESS = re.compile(
    r"hf://datasets/(?P<repo>[^/@]+/[^/@]+)(@(?P<revision>[^/]+))?(/(?P<file>.+))?/?"
)
Answer = TypeVar("Answer")


def is_address(source: str | Path) -> bool:
    """Tell whether a source is the address of a file on the hub."""
    return str(source).startswith("hf:")


def local_file(source: str | Path) -> Path:
    """Return the path of a table, downloaded into huggingface_hub's cache if it is on the hub.

    Parameters
    ----------
    source : str or pathlib.Path
        A path, or "hf://datasets/OWNER/NAME[@REVISION][/FILE]"; without a file the repository
        must hold a single table.

    Raises
    ------
    ValueError
        When it cannot be had; the sentence says what would do.
    """
    if not is_address(source):
        return Path(source)
    require("huggingface_hub", str(source))
    from huggingface_hub.errors import HfHubHTTPError, HTTPError, LocalEntryNotFoundError

    # pathlib makes one slash of two
    address = re.sub(r"^hf:/+", "hf://", str(source))
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise ValueError(
            f"{address!r} is not the address of a dataset; {SCHEME}OWNER/NAME/FILE is one."
        )
    repo, revision, file = match["repo"], match["revision"], match["file"]

    def download(api: HfApi) -> Path:
        get = partial(api.hf_hub_download, repo, repo_type="dataset", revision=revision)
        try:
            # asked first, because it does not try again for half a minute without network
            facts = api.dataset_info(repo, revision=revision)
        except HfHubHTTPError:
            raise
        except (HTTPError, OSError) as unreachable:
            if file is None:
                raise
            try:
                return Path(get(file, local_files_only=True))
            except LocalEntryNotFoundError:
                raise unreachable from None
        return Path(get(file or _only_table(repo, [f.rfilename for f in facts.siblings or ()])))

    return _ask(download, f"{address} cannot be read")


def push(folder: Path, names: Iterable[str], repo: str, *, private: bool = False) -> str:
    """Put files of a folder into a dataset repository, in one commit; it is made if need be.

    Parameters
    ----------
    folder : pathlib.Path
    names : iterable of str
        Of the files.
    repo : str
        "OWNER/NAME".
    private : bool
        Of a repository that is made.

    Returns
    -------
    str
        The address that reads them again.

    Raises
    ------
    ValueError
        When the hub cannot be reached or does not let us in.
    """
    if repo.count("/") != 1:
        raise ValueError(f"hub_repo={repo!r} must be OWNER/NAME.")

    def commit(api: HfApi) -> str:
        from huggingface_hub import CommitOperationAdd

        api.create_repo(repo, repo_type="dataset", private=private, exist_ok=True)
        api.create_commit(
            repo,
            [CommitOperationAdd(name, str(folder / name)) for name in names],
            commit_message="Tables prepared by finetune-tabpfn",
            repo_type="dataset",
        )
        return f"{SCHEME}{repo}"

    return _ask(commit, f"hub_repo={repo!r} cannot be written")


def _ask(question: Callable[[HfApi], Answer], failed: str) -> Answer:
    """Ask the hub; what goes wrong becomes one sentence that says what would do."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        HTTPError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
    try:
        return question(api)
    except OfflineModeIsEnabled:
        reason = "HF_HUB_OFFLINE is set; unset it, or give a file on this machine"
    except GatedRepoError:
        reason = "it is gated; accept its conditions on its page and set HF_TOKEN"
    except RepositoryNotFoundError:
        reason = "there is no such dataset, or it is private; check the name and set HF_TOKEN"
    except EntryNotFoundError:
        reason = "there is no such file in the dataset"
    except HFValidationError as error:
        reason = _one_line(error)
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else None
        denied = status in (401, 403)
        reason = (
            f"the hub refused ({status}); set HF_TOKEN to a token that may do this"
            if denied
            else _one_line(error)
        )
    except (HTTPError, OSError) as error:
        reason = f"the hub at {api.endpoint} cannot be reached ({_one_line(error)})"
    raise ValueError(f"{failed}: {reason}.")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__


def _only_table(repo: str, files: Iterable[str]) -> str:
    """Return the one table among the files of a repository."""
    tables = [name for name in files if READERS.keys() & set(name.lower().split(".")[1:])]
    tables = [name for name in tables if not name.endswith("report.json")]
    if len(tables) != 1:
        named = f"holds {', '.join(tables[:10])}" if tables else "holds no table"
        raise ValueError(f"{SCHEME}{repo} {named}; name one: {SCHEME}{repo}/FILE.")
    return tables[0]
