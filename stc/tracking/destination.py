"""A run in MLflow as the destination of what is sent. Only this module calls MLflow's client for a run."""

from __future__ import annotations

import os
import re
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import TypedDict

from stc.errors import first_line

if TYPE_CHECKING:
    from mlflow import MlflowClient

# MLflow's limits (mlflow.utils.validation). Longer texts are cut, so that no version of MLflow refuses them.
_PARAM_LENGTH, _TAG_LENGTH = 6000, 8000
_HEALTH_SECONDS = 3.0
_RETRY_STATUSES = (408, 429)  # statuses below 500 that are no refusal


class MlflowUnavailable(Exception):
    """MLflow takes nothing at present: it does not answer, its database is locked, or it has a fault of its own."""


class DatabaseLocked(MlflowUnavailable):
    """Another process writes to the database. On a slow disk that may take long, but it passes."""


class RequestFailed(MlflowUnavailable):
    """A request met a fault of the server or of this machine; another request may be taken."""


def mlflow_client(uri: str) -> MlflowClient:
    # MLflow reads these when it is first imported. What the user has set stays.
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")  # else it logs every database table
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # By default it tries for more than four minutes before it reports that a server is away.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


def is_reachable(uri: str) -> bool:
    """Return whether a server answers at ``uri``; always true for a database or a folder."""
    if not uri.startswith(("http://", "https://")):
        return True
    answer = health_status(uri)
    return isinstance(answer, int) and answer < 500


def health_status(uri: str) -> int | str:
    """Return the HTTP status of a server's ``/health``, or a text that says why there is no answer."""
    try:
        with urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=_HEALTH_SECONDS) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except (OSError, ValueError, HTTPException) as error:
        return str(getattr(error, "reason", error)) or type(error).__name__


class Creation(TypedDict):
    """The data to create a run with: the name of an existing experiment, and the arguments of ``create_run``."""

    experiment: str
    arguments: dict[str, Any]


@dataclass
class Destination:
    """A run in MLflow, by its id; or, if MLflow does not have it yet, how to create it."""

    uri: str
    run_id: str | None
    creation: Creation | None = None

    def __post_init__(self) -> None:
        if self.run_id is None and self.creation is None:
            raise ValueError("a run_id or how to make the run is needed")

    @cached_property
    def _client(self) -> MlflowClient:
        return mlflow_client(self.uri)

    def deliver(self, items: Sequence[tuple[str, list[Any]]]) -> str | None:
        """Send metrics, parameters and tags in one request, or a single item of another kind.

        Returns:
            None, or a text that says why MLflow refuses the items for what they are.

        Raises:
            MlflowUnavailable: they were not taken, and may be taken later.
        """
        try:
            self._deliver(items)
        except Exception as error:  # MLflow raises whatever its back end does
            if not is_reachable(self.uri):
                raise MlflowUnavailable(f"{self.uri} does not answer") from error
            if "database is locked" in str(error):
                raise DatabaseLocked(f"{self.uri} is locked") from error
            if not _is_refusal(error):
                raise RequestFailed(f"{self.uri} fails: {first_line(error)}") from error
            return f"{items[0][0]}: {first_line(error)}"
        return None

    def _deliver(self, items: Sequence[tuple[str, list[Any]]]) -> None:
        if self.creation is not None:
            name = self.creation["experiment"]
            experiment = self._client.get_experiment_by_name(name)
            if experiment is None:
                raise LookupError(f"there is no experiment {name}")
            created = self._client.create_run(experiment.experiment_id, **self.creation["arguments"])
            self.run_id, self.creation = created.info.run_id, None
        assert self.run_id is not None
        kind, arguments = items[0]
        if kind not in ("metric", "param", "tag"):
            if kind == "log_artifact" and not Path(arguments[0]).exists():
                raise FileNotFoundError(f"{arguments[0]} is missing")
            if kind == "log_datasets":
                _log_datasets(self._client, self.run_id, *arguments)
            elif kind == "log_model":
                _log_model(self._client, self.run_id, *arguments)
            else:
                getattr(self._client, kind)(self.run_id, *arguments)
            return
        from mlflow.entities import Metric, Param, RunTag

        self._client.log_batch(
            self.run_id,
            metrics=[Metric(*given) for kind, given in items if kind == "metric"],
            params=[Param(key, value[:_PARAM_LENGTH]) for kind, (key, value, *_) in items if kind == "param"],
            tags=[RunTag(key, value[:_TAG_LENGTH]) for kind, (key, value, *_) in items if kind == "tag"],
        )


def _log_datasets(client: MlflowClient, run_id: str, datasets: Sequence[Mapping[str, str]]) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag
    from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

    inputs = [
        DatasetInput(
            Dataset(one["name"], one["digest"], "local", one["source"], profile=one["profile"]),
            [InputTag(MLFLOW_DATASET_CONTEXT, one["context"])],
        )
        for one in datasets
    ]
    client.log_inputs(run_id, inputs)


def _log_model(
    client: MlflowClient, run_id: str, name: str, params: dict[str, str], metrics: Sequence[tuple[str, float, int]]
) -> None:
    """Make a logged model without files, which names its folder, and which the run has put out."""
    from mlflow.entities import LoggedModelOutput, Metric
    from mlflow.utils.mlflow_tags import MLFLOW_MODEL_IS_EXTERNAL

    experiment = client.get_run(run_id).info.experiment_id
    tags = {MLFLOW_MODEL_IS_EXTERNAL: "true"}
    model = client.create_logged_model(experiment, re.sub(r"[/:.%\"']", "_", name), run_id, tags=tags, params=params)
    client.finalize_logged_model(model.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    found = [Metric(key, value, when, 0, model_id=model.model_id, run_id=run_id) for key, value, when in metrics]
    client.log_batch(run_id, metrics=found)


def _is_refusal(error: Exception) -> bool:
    """Return whether an error is about what was sent, and not about the server or this machine."""
    status = _http_status(error)
    if status is not None:
        return status < 500 and status not in _RETRY_STATUSES
    return isinstance(error, FileNotFoundError) or not isinstance(error, OSError)


def _http_status(error: Exception) -> int | None:
    from mlflow.exceptions import MlflowException
    from requests import HTTPError

    if isinstance(error, HTTPError):
        return error.response.status_code if error.response is not None else None
    if not isinstance(error, MlflowException):
        return None
    # MLflow reports a status that it has no name for, such as 413, as 500. Its message has the right one.
    found = re.search(r"failed with error code (\d{3})", str(error))
    return int(found[1]) if found else int(error.get_http_status_code())
