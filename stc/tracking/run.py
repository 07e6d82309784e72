"""A run as the rest of stc sees it: it takes what MLflow is to show, and never waits for MLflow."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stc.tracking.outbox import LOG, ItemKind, Outbox


@dataclass(frozen=True)
class Dataset:
    """A data set that a run has used.

    Attributes:
        digest: says which content it has; at most 36 characters.
        folder: where it is.
        context: what it was used for, such as ``training``.
        profile: figures about it, such as how many rows it has.
    """

    name: str
    digest: str
    folder: Path
    context: str
    profile: Mapping[str, Any]


class TrackedRun:
    """A run in MLflow; without an outbox, one that is not shown anywhere.

    No method raises, and only :meth:`end` waits.
    """

    def __init__(self, outbox: Outbox | None = None) -> None:
        self._outbox = outbox

    @property
    def id(self) -> str | None:
        """MLflow's id of the run; None if it is not shown, or before MLflow could create it."""
        return self._outbox.destination.run_id if self._outbox else None

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        now = int(time.time() * 1000)
        for key, value in metrics.items():
            name = re.sub(r"[^\w\-. /]", "_", key)  # MLflow refuses other characters
            try:
                self._put("metric", name, float(value), now, step or 0)
            except (TypeError, ValueError) as error:
                LOG.warning("MLflow: metric %s=%r: %s", key, value, error)

    def log_params(self, params: Mapping[str, str]) -> None:
        for key, value in params.items():
            self._put("param", key, value)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        for key, value in tags.items():
            self._put("tag", key, value)

    def log_text(self, text: str, name: str) -> None:
        """Save ``text`` as the artifact ``name``."""
        self._put("log_text", text, name)

    def log_dict(self, content: Mapping[str, Any], name: str) -> None:
        """Save ``content`` as the artifact ``name``, in YAML or JSON according to its ending."""
        self._put("log_dict", json.loads(json.dumps(content, default=str)), name)

    def log_file(self, path: Path, folder: str | None = None) -> None:
        """Copy a file to the artifacts, into ``folder`` or at the top."""
        self._put("log_artifact", str(path.absolute()), folder)

    def log_table(self, columns: Mapping[str, Sequence[Any]], name: str) -> None:
        """Save a table (column title → values, all of the same length) as the artifact ``name``, ending in .json."""
        self._put("log_table", {title: list(values) for title, values in columns.items()}, name)

    def log_datasets(self, datasets: Sequence[Dataset]) -> None:
        """Show which data the run has used. Nothing is copied."""
        described = [
            {
                "name": one.name,
                "digest": one.digest,
                "source": json.dumps({"uri": str(one.folder)}),
                "context": one.context,
                "profile": json.dumps(one.profile),
            }
            for one in datasets
        ]
        if described:
            self._put("log_datasets", described)

    def log_model(self, name: str, params: Mapping[str, str], metrics: Mapping[str, float]) -> None:
        """Show a model that the run has made, with its figures. Nothing is copied: ``params`` say where it is."""
        now = int(time.time() * 1000)
        self._put("log_model", name, dict(params), [(key, float(value), now) for key, value in metrics.items()])

    def end(self, status: str) -> None:
        """Close the run as FINISHED, FAILED or KILLED, and wait while MLflow still takes what is left to send."""
        self._put("set_terminated", status, int(time.time() * 1000))
        if self._outbox:
            self._outbox.close()

    def _put(self, kind: ItemKind, *arguments: Any) -> None:
        if self._outbox:
            self._outbox.put((kind, list(arguments)))
