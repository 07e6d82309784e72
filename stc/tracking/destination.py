"""A run in MLflow, as the place that things are sent to: the only module that calls MLflow's client for a run."""

from __future__ import annotations

import os
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow import MlflowClient

# MLflow's limits (mlflow.utils.validation); longer texts are cut here, so that no version of it refuses them.
_PARAM_LENGTH, _TAG_LENGTH = 6000, 8000
_ATTEMPTS = 3  # for what a server that is there does not take although nothing seems wrong with it
_ANSWER_SECONDS = 3.0


class Away(Exception):
    """MLflow cannot be reached at present."""


def client(uri: str) -> MlflowClient:
    # Set before the first import of MLflow, which reads them; what the user has set stays.
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")  # else a wall of lines about database tables
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # By itself it tries for four minutes and more before it says that a server is away.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


def reachable(uri: str) -> bool:
    """Whether a server answers at ``uri``; of what is no server that is taken for granted."""
    if not uri.startswith(("http://", "https://")):
        return True
    try:
        with urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=_ANSWER_SECONDS):
            return True
    except urllib.error.HTTPError as error:
        return error.code < 500
    except (OSError, ValueError):
        return False


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
            why it was refused, None where it was taken.

        Raises:
            Away: when nothing can be sent at present.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._deliver(items)
                return None
            except Exception as error:  # MLflow raises whatever its back end does
                if not reachable(self.uri):
                    raise Away(f"{self.uri} does not answer") from error
                if "database is locked" in str(error):  # by another process, on a disk that is slow at present
                    raise Away(f"{self.uri} is locked") from error
                if _lasting(error) or attempt == _ATTEMPTS:
                    return f"{items[0][0]}: {error}"
                time.sleep(0.5 * attempt)
        return None

    def _deliver(self, items: Sequence[tuple[str, list[Any]]]) -> None:
        if self._client is None:
            self._client = client(self.uri)
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


def _lasting(error: Exception) -> bool:
    """Whether asking again would give the same answer."""
    from mlflow.exceptions import MlflowException

    if isinstance(error, MlflowException):
        return 400 <= error.get_http_status_code() < 500 and error.get_http_status_code() not in (408, 429)
    return isinstance(error, FileNotFoundError | LookupError | TypeError | ValueError)
