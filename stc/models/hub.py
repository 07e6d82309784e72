"""Models of the Hugging Face hub: reading their config, and downloading them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import Any

from stc.errors import ConfigError, Fault, InputError, first_line, suggestion
from stc.store.artifact import Kind
from stc.store.lookup import resolve_artifact
from stc.system.hub_files import HubFiles, HubUnreachable, refusal
from stc.system.paths import expand_home
from stc.system.read_files import parse_json

_HUB_ID = re.compile(r"(?!.*(?:--|\.\.))\w(?:[\w.-]{,94}\w)?/\w(?:[\w.-]{,94}\w)?(?<!\.git)", re.ASCII)
_MODEL_FILES = ["*.json", "*.safetensors", "*.txt", "*.jinja"]
_TIMEOUT = 5.0  # seconds


@dataclass(frozen=True)
class HubModel:
    """A model of the Hugging Face hub, in the place of a folder. ``id`` is ``owner/name``."""

    id: str

    def fetch(self, check: Callable[[Path], object]) -> Path:
        """Return the folder of its files in the local cache, after downloading those that are missing.

        Args:
            check: called with the folder once config.json is in it, before the weights are downloaded. It raises an
                error for a model that is not wanted.

        Raises:
            InputError: the files are not there and cannot be downloaded.
        """
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

        try:
            check(Path(snapshot_download(self.id, allow_patterns=["config.json"])))
            return Path(snapshot_download(self.id, allow_patterns=_MODEL_FILES))
        except (HfHubHTTPError, LocalEntryNotFoundError) as error:
            raise InputError(
                f"{self.id}: not in this machine's cache of the Hugging Face hub, not a folder here, and the hub does "
                f"not give it: {first_line(error)} With a network: python -m stc.pull, or hf download {self.id}"
            ) from error

    def cached(self) -> Path | None:
        """Return the folder of its files in the local cache; None if some are missing."""
        return self.files.cached()

    @property
    def files(self) -> HubFiles:
        """The files of it that stc reads."""
        return HubFiles("model", self.id, files=lambda: _MODEL_FILES)

    def config(self) -> dict[str, Any]:
        """Return the parsed config.json on the hub. A process asks once for each id, and waits a few seconds.

        Raises:
            HubUnreachable: the hub does not answer.
            InputError: the hub refuses to give it.
        """
        answer = _config_or_error(self.id)
        if isinstance(answer, InputError):
            raise answer
        return answer


@cache
def _config_or_error(hub_id: str) -> dict[str, Any] | InputError:
    answers: Queue[dict[str, Any] | InputError] = Queue()
    # The request's own timeout covers neither the name look-up nor all addresses of a host together.
    Thread(target=lambda: answers.put(_ask(hub_id)), daemon=True).start()
    try:
        return answers.get(timeout=_TIMEOUT)
    except Empty:
        return _unreachable(hub_id, f"no answer in {_TIMEOUT:g} s")


def _ask(hub_id: str) -> dict[str, Any] | InputError:
    import httpx
    from huggingface_hub import get_session, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

    try:
        url = hf_hub_url(hub_id, "config.json")
        response = get_session().get(url, headers=build_hf_headers(), timeout=_TIMEOUT)
        hf_raise_for_status(response)
        return parse_json(response.content, url, dict[str, Any])
    except InputError as error:
        return error
    except EntryNotFoundError:
        why: str | None = "has it without the config.json that stc needs"
    except HfHubHTTPError as error:
        why = refusal(error, hub_id)
        if why is None:
            return _unreachable(hub_id, f"it answers with {error.response.status_code}")
    except (OSError, ValueError, httpx.HTTPError, httpx.InvalidURL) as error:
        return _unreachable(hub_id, str(error) or type(error).__name__)
    return InputError(f"no such folder here{_nearest_folder(hub_id)}, and the Hugging Face hub {why}")


def _unreachable(hub_id: str, why: str) -> HubUnreachable:
    return HubUnreachable(
        f"no such folder here{_nearest_folder(hub_id)}, not complete in this machine's cache of the Hugging Face hub, "
        f"and the hub cannot be asked: {why}. With a network: python -m stc.pull, or hf download {hub_id}"
    )


def _nearest_folder(hub_id: str) -> str:
    """Return a hint at the folder that is meant, in case ``owner`` is a mistyped folder."""
    return suggestion(hub_id, [str(one) for one in Path().glob(f"*/{hub_id.partition('/')[2]}") if one.is_dir()])


def model_source(given: str, key: str, kind: Kind = Kind.MODEL) -> Path | HubModel:
    """Return what a setting names: a folder, a result of a store, or a model of the Hugging Face hub.

    Args:
        key: the setting, for error messages.
        kind: the kind of a result that is named by the first digits of its identity.

    Raises:
        ConfigError: there is no such folder or result, and the value cannot be an id of the hub.
    """
    try:
        folder = resolve_artifact(Path(expand_home(given)), kind)
    except InputError as error:
        raise ConfigError([Fault(key, given, str(error))]) from None
    if given.strip() and os.path.isdir(folder):
        return folder.resolve()
    # If there is a folder with the owner's name, a mistyped path is meant.
    if _HUB_ID.fullmatch(given) and not os.path.isdir(folder.parent):
        return HubModel(given)
    if not given.strip():
        raise ConfigError([Fault(key, given, "is empty; a folder or an id of the Hugging Face hub is needed")])
    if os.path.exists(folder):
        raise ConfigError([Fault(key, given, "is a file; a folder or an id of the Hugging Face hub is needed")])
    near = suggestion(str(folder), [str(one) for one in folder.parent.glob("*") if one.is_dir()])
    raise ConfigError([Fault(key, given, f"no such folder{near}")])
