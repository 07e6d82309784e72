"""The MLflow lifecycle, and the only module that talks to MLflow.

MLflow is a view: nothing is read back from it and losing it loses no result. Hence two rules. Tracking that
cannot *start* is an error, shown before anything is computed. Tracking that breaks *later* warns once and
never stops the computation.

A run always ends. Its status is FINISHED, FAILED after an exception (the traceback is kept as an artifact) or
KILLED after SIGTERM or SIGINT. A process killed without a chance to say so leaves its run RUNNING; the next
run on the same host closes it, recognising the dead process by its id and start time.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
import shlex
import socket
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from stc.errors import InputError
from stc.machine import git_commit, refuse_shared_database, versions
from stc.signals import killable

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

# MLflow's limits (mlflow.utils.validation); longer texts are cut here, so that no version of it refuses them.
_PARAMS_A_BATCH, _METRICS_A_BATCH, _PARAM_LENGTH, _TAG_LENGTH = 100, 500, 6000, 8000
_FLUSH_SECONDS = 5.0  # metrics wait at most about this long before they can be seen


class Tracking(BaseModel):
    """Where runs are shown: an MLflow tracking ``uri`` and the name of the ``experiment`` they belong to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = True
    uri: str = "sqlite:///mlflow.db"
    experiment: str = "stc"


class Run:
    """A run in MLflow, or with ``client=None`` one that is not shown anywhere. No method raises."""

    def __init__(self, client: MlflowClient | None = None, run_id: str | None = None) -> None:
        self.id = run_id
        self._client = client
        self._metrics: list[tuple[str, float, int, int]] = []  # key, value, milliseconds, step
        self._flushed = time.monotonic()
        self._warned = False

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Report metrics. They are sent in batches, every few seconds and at the end of the run."""
        now = int(time.time() * 1000)
        for key, value in metrics.items():
            try:
                self._metrics.append((_metric_key(key), float(value), now, step or 0))
            except (TypeError, ValueError) as error:
                self._warn(f"metric {key}={value!r}: {error}")
        if len(self._metrics) >= _METRICS_A_BATCH or time.monotonic() - self._flushed > _FLUSH_SECONDS:
            self.flush()

    def log_stage(self, name: str, identity: str, cached: bool, seconds: float) -> None:
        """Note how a stage's artifact was come by: tag ``stage.<name>``, metric ``seconds/<name>``."""
        self.set_tags({f"stage.{name}": f"{identity} ({'cached' if cached else 'made'})"})
        self.log_metrics({f"seconds/{name}": seconds})

    def log_params(self, params: Mapping[str, str]) -> None:
        """Report parameters, cut to the length MLflow stores."""
        items = [(key, value[:_PARAM_LENGTH]) for key, value in params.items()]
        for start in range(0, len(items), _PARAMS_A_BATCH):
            self._log_batch("params", "Param", items[start : start + _PARAMS_A_BATCH])

    def set_tags(self, tags: Mapping[str, str]) -> None:
        for key, value in tags.items():
            self._call("set_tag", key, value[:_TAG_LENGTH])

    def log_text(self, text: str, name: str) -> None:
        """Keep ``text`` as the artifact ``name``."""
        self._call("log_text", text, name)

    def log_dict(self, content: Mapping[str, Any], name: str) -> None:
        """Keep ``content`` as the artifact ``name``, in YAML or JSON as the name ends."""
        self._call("log_dict", dict(content), name)

    def log_file(self, path: Path, folder: str | None = None) -> None:
        """Keep a copy of a file as an artifact of the same name, in a folder of the artifacts or at their top."""
        self._call("log_artifact", str(path), folder)

    def log_table(self, columns: Mapping[str, Sequence[Any]], name: str) -> None:
        """Keep a table (column title → values, all of one length) that MLflow shows as such; ``name`` ends in
        ``.json``."""
        self._call("log_table", {title: list(values) for title, values in columns.items()}, name)

    def flush(self) -> None:
        """Send the metrics that wait."""
        waiting, self._metrics = self._metrics, []
        self._flushed = time.monotonic()
        for start in range(0, len(waiting), _METRICS_A_BATCH):
            self._log_batch("metrics", "Metric", waiting[start : start + _METRICS_A_BATCH])

    def end(self, status: str) -> None:
        """Send what waits and close the run: FINISHED, FAILED or KILLED."""
        self.flush()
        self._call("set_terminated", status)

    def _log_batch(self, argument: str, entity: str, rows: Sequence[tuple[Any, ...]]) -> None:
        if self._client is None:
            return
        import mlflow.entities

        make = getattr(mlflow.entities, entity)
        self._call("log_batch", **{argument: [make(*row) for row in rows]})

    def _call(self, method: str, *arguments: Any, **named: Any) -> None:
        """``client.method(run id, …)``; a failure is a warning, the first time."""
        if self._client is None:
            return
        try:
            getattr(self._client, method)(self.id, *arguments, **named)
        except Exception as error:
            self._warn(f"{method}: {error}")

    def _warn(self, what: str) -> None:
        if not self._warned:
            log.warning("MLflow run %s: %s. The computation goes on; MLflow may miss some of it.", self.id, what)
        self._warned = True


def _metric_key(key: str) -> str:
    """``key`` with what MLflow refuses in a name replaced."""
    return re.sub(r"[^\w\-. /]", "_", key)


@contextmanager
def track(
    tracking: Tracking, *, run_name: str, config: Mapping[str, Any], tags: Mapping[str, str] | None = None
) -> Iterator[Run]:
    """Everything inside the ``with`` is one MLflow run, which ends when the block does, however it ends.

    Args:
        tracking: where to; with ``enabled=False`` the same interface does nothing and the run's id is None.
        run_name: as MLflow shows it.
        config: the composed config: kept as config.yaml, and flattened to parameters with dotted names.
        tags: more tags, e.g. ``mlflow.parentRunId`` for the jobs of a sweep.

    Raises:
        InputError: when the run cannot be started.
        Killed: inside the block, when SIGTERM or SIGINT arrives (:mod:`stc.signals`).
    """
    with killable() as hold:
        run = _start(tracking, run_name, tags or {}) if tracking.enabled else Run()
        status = "FAILED"
        try:
            run.log_params(flatten(config))
            run.log_dict(config, "config.yaml")
            yield run
            hold()
            status = "FINISHED"
        except KeyboardInterrupt as interrupt:
            hold()
            status = "KILLED"
            run.set_tags({"stc.message": str(interrupt) or "KeyboardInterrupt"})
            raise
        except BaseException as error:
            hold()
            run.set_tags({"stc.message": f"{type(error).__name__}: {error}"})
            run.log_text(traceback.format_exc(), "traceback.txt")
            raise
        finally:
            run.end(status)


def _start(tracking: Tracking, run_name: str, tags: Mapping[str, str]) -> Run:
    # Set before the first import of MLflow, which reads them; what the user has set stays.
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")  # else a wall of lines about database tables
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow import MlflowClient

    uri, database = _resolve(tracking.uri)
    try:
        with _lock(database):
            client = MlflowClient(tracking_uri=uri)
            experiment = _experiment(client, tracking.experiment, database)
            _close_stale(client, experiment)
            run_id = client.create_run(experiment, tags={**_tags(), **tags}, run_name=run_name).info.run_id
    except InputError:
        raise
    except Exception as error:
        message = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(
            f"tracking.uri={tracking.uri}: MLflow cannot start a run there: {message[0]}; "
            "tracking.enabled=false runs without it"
        ) from error
    return Run(client, run_id)


def _resolve(uri: str) -> tuple[str, Path | None]:
    """The URI with an absolute path, and the SQLite file it names, if it does."""
    prefix = "sqlite:///"
    if not uri.startswith(prefix) or uri.endswith(":memory:"):
        return uri, None
    database = Path(uri.removeprefix(prefix)).expanduser().absolute()
    refuse_shared_database(database, f"tracking.uri={uri}")
    database.parent.mkdir(parents=True, exist_ok=True)
    return f"{prefix}{database}", database


@contextmanager
def _lock(database: Path | None) -> Iterator[None]:
    """Keep other processes out: creating a database, or an experiment in it, twice at once fails in MLflow."""
    if database is None:
        yield
        return
    with Path(f"{database}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # goes with the file's closing, and with the process
        yield


def _experiment(client: MlflowClient, name: str, database: Path | None) -> str:
    """The experiment's id; made if it is new, with its artifacts beside the database."""
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        location = (database.parent / "mlartifacts").as_uri() if database else None
        return str(client.create_experiment(name, artifact_location=location))
    if experiment.lifecycle_stage != "active":
        raise InputError(f"tracking.experiment={name}: deleted in MLflow; restore it there or take another name")
    return str(experiment.experiment_id)


def _close_stale(client: MlflowClient, experiment: str) -> None:
    """End the runs of this host that are RUNNING although their process is gone."""
    query = f"attributes.status = 'RUNNING' and tags.`stc.host` = '{socket.gethostname()}'"
    for run in client.search_runs([experiment], filter_string=query):
        process = (run.data.tags.get("stc.pid", ""), run.data.tags.get("stc.pid_started", ""))
        if not _alive(*process):
            client.set_tag(run.info.run_id, "stc.message", "its process ended without closing the run")
            client.set_terminated(run.info.run_id, "KILLED")


def _alive(pid: str, started: str) -> bool:
    import psutil

    try:
        process = psutil.Process(int(pid))
        return abs(process.create_time() - float(started)) < 2  # seconds: a process id is not reused that fast
    except (ValueError, psutil.NoSuchProcess):
        return False
    except psutil.Error:
        return True  # there, and not ours to look at


def _tags() -> dict[str, str]:
    import psutil

    process = psutil.Process()
    tags = {
        "stc.host": socket.gethostname(),
        "stc.pid": str(process.pid),
        "stc.pid_started": repr(process.create_time()),
        "mlflow.source.name": shlex.join(sys.argv),
        "mlflow.source.type": "LOCAL",
    }
    checkout = git_commit()
    if checkout is not None:
        tags |= {"mlflow.source.git.commit": checkout[0], "stc.git_dirty": str(checkout[1]).lower()}
    return tags | {f"version.{name}": value for name, value in versions().items()}


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """A nested config as dotted names → text; lists and what is not text are written as JSON."""
    flat: dict[str, str] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{name}.")
        else:
            flat[name] = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return flat
