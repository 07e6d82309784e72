"""Files of the Hugging Face hub that a run needs: what they are, whether they are here, fetching and checking them.

``huggingface_hub`` keeps them in its cache, resumes a download whose connection broke off, and lists the files of a
commit with their checksums.
"""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from stc.errors import InputError, first_line
from stc.system.durable_files import disk_full

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError


LARGE_BYTES = 100_000_000
"""Files of this size are downloaded one after the other."""


class HubUnreachable(InputError):
    """There is no network, or the Hugging Face hub does not answer."""


def _nothing() -> None:
    return None


@dataclass(frozen=True)
class HubFiles:
    """Files of one repository of the hub.

    Attributes:
        what: the use that a run has for them: ``model``, ``data``, ``metric comet``.
        id: of the repository.
        files: gives patterns of their names (``*.json``). It may ask the hub; None for all files.
        revision: a commit or a branch.
        detail: which files these are, for messages; it tells apart files of one repository.
        unpack: makes what is read without network, once the files are here.
        unpacked: whether that has been made.
        needed: names of files that must be there. The cache knows of itself what is missing only if all files were
            asked for together.
    """

    what: str
    id: str
    repo_type: Literal["model", "dataset"] = "model"
    files: Callable[[], Sequence[str] | None] = _nothing
    revision: str | None = None
    detail: str = ""
    unpack: Callable[[], object] = _nothing
    unpacked: Callable[[], bool] | None = None
    needed: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.id} {self.detail}".rstrip()

    def is_here(self) -> bool:
        """Return whether a run without network finds them in the cache."""
        if self.unpacked is not None:
            return self.unpacked()
        return self.cached() is not None

    def cached(self) -> Path | None:
        """Return the folder of the commit in the cache, if all files are in it."""
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import LocalEntryNotFoundError

        try:
            folder = Path(
                snapshot_download(
                    self.id,
                    repo_type=self.repo_type,
                    revision=self.revision,
                    allow_patterns=self._patterns(),
                    local_files_only=True,
                )
            )
        except LocalEntryNotFoundError:
            return None
        return folder if all((folder / name).exists() for name in self.needed) else None

    def listed(self) -> HubListing:
        """Ask the hub which files these are.

        Raises:
            HubUnreachable: the hub does not answer.
            InputError: it has no such repository or commit, or does not give it.
        """
        from huggingface_hub import snapshot_download
        from huggingface_hub.utils import tqdm

        class NoBar(tqdm):
            def __init__(self, *args: Any, **settings: Any) -> None:
                super().__init__(*args, **{**settings, "disable": True})

        with hub_errors(self.id, self.repo_type):
            found = snapshot_download(
                self.id,
                repo_type=self.repo_type,
                revision=self.revision,
                allow_patterns=self._patterns(),
                tqdm_class=NoBar,
                dry_run=True,
            )
        if not found:
            raise InputError(f"{self.name}: the Hugging Face hub has no files of it that stc reads")
        files = [(one.filename, one.file_size or 0, one.will_download) for one in found]
        return HubListing(self, found[0].commit_hash, files)

    def _patterns(self) -> list[str] | None:
        found = self.files()
        return None if found is None else list(found)


@dataclass(frozen=True)
class HubListing:
    """The files of one commit: name, bytes, and whether the file has to be downloaded."""

    wanted: HubFiles
    commit: str
    files: Sequence[tuple[str, int, bool]]

    @property
    def bytes(self) -> int:
        return sum(size for _, size, _ in self.files)

    @property
    def bytes_to_download(self) -> int:
        return sum(size for _, size, missing in self.files if missing)

    def fetch(self) -> Path:
        """Download what is missing, and return the folder of the commit in the cache. Raises as ``HubFiles.listed``."""
        from huggingface_hub import snapshot_download

        wanted = self.wanted
        small = [name for name, size, _ in self.files if size < LARGE_BYTES]
        large = [name for name, size, _ in self.files if size >= LARGE_BYTES]
        folder = Path()
        with hub_errors(wanted.id, wanted.repo_type):
            # The library begins an unfinished file again if its process has ended: so, only one large one at a time.
            for names, at_a_time in ((small, 8), (large, 1)):
                if names:
                    folder = Path(
                        snapshot_download(
                            wanted.id,
                            repo_type=wanted.repo_type,
                            revision=wanted.revision,  # as a run asks, so that the cache knows the commit it means
                            allow_patterns=list(map(glob.escape, names)),
                            max_workers=at_a_time,
                        )
                    )
        return folder

    def check(self, folder: Path, sha256: Callable[[Path], str]) -> None:
        """Compare the files with the hub's checksums. A file that differs is removed from the cache.

        Args:
            folder: of the commit in the cache.
            sha256: gives the digest of a file.

        Raises:
            InputError: a file differs.
        """
        from huggingface_hub import HfApi
        from huggingface_hub.hf_api import RepoFile

        names = [name for name, _, _ in self.files]
        with hub_errors(self.wanted.id, self.wanted.repo_type):
            found = HfApi().get_paths_info(self.wanted.id, names, revision=self.commit, repo_type=self.wanted.repo_type)
        wrong = []
        for one in found:
            if isinstance(one, RepoFile):
                file = folder / one.path
                right = sha256(file) == one.lfs.sha256 if one.lfs else _git_sha1(file) == one.blob_id
                if not right:
                    wrong.append(one.path)
                    for path in (file.resolve(), file):
                        path.unlink(missing_ok=True)
        if wrong:
            raise InputError(
                f"{self.wanted.name}: {', '.join(wrong)} differed from the checksums of the hub, and was removed from "
                "the cache: run the same command again"
            )


def _git_sha1(file: Path) -> str:
    """Return the checksum by which git, and the hub for small files, knows the content of a file."""
    content = file.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


@contextmanager
def hub_errors(repo_id: str, repo_type: str = "model") -> Iterator[None]:
    """Turn an error of ``huggingface_hub`` into one that says what can be done.

    Raises:
        HubUnreachable: the hub cannot be asked.
        InputError: the hub refuses.
    """
    import httpx
    from huggingface_hub.errors import HfHubHTTPError

    try:
        yield
    except InputError:
        raise
    except HfHubHTTPError as error:
        why = refusal(error, repo_id, repo_type)
        if why is None:
            raise HubUnreachable(f"{repo_id}: the Hugging Face hub answers with {error.response.status_code}") from None
        raise InputError(f"{repo_id}: the Hugging Face hub {why}") from None
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        if disk_full(error):
            raise InputError(
                f"{repo_id}: no space is left for it on the disk of the hub's cache; what is complete is kept: free "
                "some space, and run the same command again"
            ) from None
        cause = error.__cause__ or error
        raise HubUnreachable(f"{repo_id}: the Hugging Face hub cannot be asked: {first_line(cause)}") from None


def refusal(error: HfHubHTTPError, repo_id: str, repo_type: str = "model") -> str | None:
    """Return why the hub does not give something, to follow "the hub"; None if it cannot answer now."""
    from huggingface_hub.constants import ENDPOINT
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    place = f"{ENDPOINT}/{'datasets/' * (repo_type == 'dataset')}{repo_id}"
    noun = "model" if repo_type == "model" else "data set"
    if isinstance(error, GatedRepoError):
        return f"gives it with its owner's permission only: ask at {place}, then hf auth login"
    if isinstance(error, RevisionNotFoundError):
        return "has no such commit of it"
    if isinstance(error, RepositoryNotFoundError):
        return f"knows no such {noun}; for a private one, hf auth login is needed"
    if isinstance(error, EntryNotFoundError):
        return "has it without a file that stc needs"
    status = error.response.status_code
    if status >= 500 or status in (408, 429):
        return None
    return f"does not give it: {status} {error.server_message or ''}".rstrip()
