"""A run in MLflow, as the place that things are sent to: the only module that calls MLflow's client for a run."""

from __future__ import annotations

import os
import re
import urllib.error
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow import MlflowClient

# MLflow's limits (mlflow.utils.validation); longer texts are cut here, so that no version of it refuses them.
_PARAM_LENGTH, _TAG_LENGTH = 6000, 8000
_ANSWER_SECONDS = 3.0


class MlflowUnavailable(Exception):
    """MLflow takes nothing at present: nobody answers, its database is locked, or it has a fault of its own."""


class DatabaseLocked(MlflowUnavailable):
    """Another process writes to the database, which may take long on a slow disk and passes by itself."""


class RequestFailed(MlflowUnavailable):
    """What was sent has met a fault of the server or of this machine; something else may be taken."""


_NO_REFUSAL = (408, 429)  # statuses below 500 that say nothing against what was sent


def mlflow_client(uri: str) -> MlflowClient:
    # Set before the first import of MLflow, which reads them; what the user has set stays.
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")  # else a wall of lines about database tables
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # By itself it tries for four minutes and more before it says that a server is away.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


def is_reachable(uri: str) -> bool:
    """Return whether a server answers at ``uri``; of what is no server that is taken for granted."""
    if not uri.startswith(("http://", "https://")):
        return True
    answer = health_status(uri)
    return isinstance(answer, int) and answer < 500


def health_status(uri: str) -> int | str:
    """Return the status that a server's ``/health`` answers with, or why there is no answer."""
    try:
        with urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=_ANSWER_SECONDS) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except (OSError, ValueError, HTTPException) as error:
        return str(getattr(error, "reason", error)) or type(error).__name__


class Destination:
    """A run: where, and by which id, or how it is yet to be made (the name of an ``experiment`` that is there, and the
    ``arguments`` of ``create_run``)."""

    def __init__(self, uri: str, run_id: str | None, creation: dict[str, Any] | None = None) -> None:
        self.uri = uri
        self.run_id = run_id
        self._creation = creation or {}
        self._client: MlflowClient | None = None

    def written(self) -> dict[str, Any]:
        """What makes the same destination again."""
        return {"uri": self.uri, "run_id": self.run_id, "creation": None if self.run_id else self._creation}

    def deliver(self, items: Sequence[tuple[str, list[Any]]]) -> str | None:
        """Send metrics, parameters and tags in one request, or a single thing of another kind.

        Returns:
            why it was refused for what it is, None where it was taken.

        Raises:
            Away: it was not taken, and may be another time.
        """
        try:
            self._deliver(items)
        except Exception as error:  # MLflow raises whatever its back end does
            if not is_reachable(self.uri):
                raise MlflowUnavailable(f"{self.uri} does not answer") from error
            if "database is locked" in str(error):
                raise DatabaseLocked(f"{self.uri} is locked") from error
            said = (str(error).strip().splitlines() or [type(error).__name__])[0]
            if not _refusal(error):
                raise RequestFailed(f"{self.uri} fails: {said}") from error
            return f"{items[0][0]}: {said}"
        return None

    def _deliver(self, items: Sequence[tuple[str, list[Any]]]) -> None:
        if self._client is None:
            self._client = mlflow_client(self.uri)
        if self.run_id is None:
            name, arguments = self._creation["experiment"], self._creation["arguments"]
            experiment = self._client.get_experiment_by_name(name)
            if experiment is None:
                raise LookupError(f"there is no experiment {name}")
            self.run_id = self._client.create_run(experiment.experiment_id, **arguments).info.run_id
        what, arguments = items[0]
        if what not in ("metric", "param", "tag"):
            if what == "log_artifact" and not Path(arguments[0]).exists():
                raise FileNotFoundError(f"{arguments[0]} is missing")
            getattr(self._client, what)(self.run_id, *arguments)
            return
        from mlflow.entities import Metric, Param, RunTag

        self._client.log_batch(
            self.run_id,
            metrics=[Metric(*given) for kind, given in items if kind == "metric"],
            params=[Param(key, value[:_PARAM_LENGTH]) for kind, (key, value, *_) in items if kind == "param"],
            tags=[RunTag(key, value[:_TAG_LENGTH]) for kind, (key, value, *_) in items if kind == "tag"],
        )


def _refusal(error: Exception) -> bool:
    """Return whether an error is about what was sent, and not about the server or this machine."""
    status = _status(error)
    if status is not None:
        return status < 500 and status not in _NO_REFUSAL
    return isinstance(error, FileNotFoundError) or not isinstance(error, OSError)


def _status(error: Exception) -> int | None:
    """Return the HTTP status of an error of MLflow's, None of any other."""
    from mlflow.exceptions import MlflowException
    from requests import HTTPError

    if isinstance(error, HTTPError):
        return error.response.status_code if error.response is not None else None
    if not isinstance(error, MlflowException):
        return None
    # MLflow takes a status that it has no name for, as 413, for 500; its message has the right one.
    named = re.search(r"failed with error code (\d{3})", str(error))
    return int(named[1]) if named else int(error.get_http_status_code())
