"""The repository's folders that stc reads, and the type of a setting that names a folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import PlainValidator
from pydantic_core import PydanticCustomError

ROOT = Path(__file__).resolve().parents[2]
CONF = ROOT / "conf"
EXPERIMENTS = ROOT / "experiments"


def set_root_variable() -> None:
    """Set the environment variable STC_ROOT, by which the files in ``conf/`` name the repository."""
    os.environ["STC_ROOT"] = str(ROOT)


def expand_home(path: str) -> str:
    """Return the path with a leading ``~`` replaced by the home folder. In ``./~x`` it is part of a name."""
    return os.path.expanduser(path)


def short_path(path: Path | str) -> str:
    """Return a path as one types it here: without the current folder if it is in it, else in full."""
    full, here = Path(path).absolute(), Path.cwd()
    return str(full.relative_to(here) if full.is_relative_to(here) else full)


def user_cache() -> Path:
    """Return the folder for what may be deleted at any time: ``stc`` in ``$XDG_CACHE_HOME``, or in ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or expand_home("~/.cache"), "stc")


def _folder(given: Any) -> Path:
    if not isinstance(given, str | Path):
        raise PydanticCustomError("folder", "must be a path, in quotes if it looks like something else")
    if not str(given).strip():
        raise PydanticCustomError("folder", "is empty: a folder is needed")
    return Path(expand_home(str(given)))


Folder = Annotated[Path, PlainValidator(_folder)]
"""The type of a setting that names a folder, which need not exist."""
