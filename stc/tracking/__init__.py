"""Runs in MLflow, from their start to their end. No other package calls MLflow.

Nothing is read back from MLflow, so losing it loses no result. If tracking cannot *start*, that is an error before
anything is computed. If it breaks *later*, there is one warning, the computation goes on, and MLflow gets the rest when
it is back (:mod:`stc.tracking.outbox`).

Every run ends: as FINISHED, as FAILED after an exception (the traceback is an artifact), or as KILLED after SIGTERM or
SIGINT. If the process is killed with SIGKILL, the run stays RUNNING until the next run on the same host closes it: that
one recognizes a dead process by its id and start time.
"""

from __future__ import annotations

import fcntl
import shlex
import socket
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from stc.errors import InputError, first_line
from stc.system.machine import git_commit, refuse_shared_database, versions
from stc.system.paths import Folder
from stc.system.process import Process
from stc.system.signals import killable
from stc.tracking.destination import Creation, Destination, is_reachable, mlflow_client
from stc.tracking.outbox import LOG, Outbox, send_leftovers
from stc.tracking.run import TrackedRun
from stc.tracking.view import experiment_tags

if TYPE_CHECKING:
    from mlflow import MlflowClient


class Tracking(BaseModel):
    """The place where runs are shown.

    Attributes:
        uri: MLflow's tracking URI.
        experiment: the name of the experiment.
        unsent: a folder for what a server that is away does not have yet.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = True
    uri: str = "sqlite:///mlflow.db"
    experiment: str = "stc"
    unsent: Folder = Path("mlflow-unsent")


@contextmanager
def track(
    tracking: Tracking,
    *,
    run_name: str,
    config: Mapping[str, Any],
    params: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
) -> Iterator[TrackedRun]:
    """Start an MLflow run that ends with the block, however the block ends.

    Args:
        tracking: with ``enabled=False``, the run does nothing and its id is None.
        config: the composed config, which becomes the artifact config.yaml.
        params: columns by which runs are compared.
        tags: further tags, such as ``mlflow.parentRunId`` for the jobs of a sweep.

    Raises:
        InputError: the run cannot be started.
        Killed: inside the block, when SIGTERM or SIGINT arrives (:mod:`stc.system.signals`).
    """
    with killable() as hold:
        run = start_run(tracking, run_name, config, params, tags)
        status = "FAILED"
        try:
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


def start_run(
    tracking: Tracking,
    run_name: str,
    config: Mapping[str, Any],
    params: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
) -> TrackedRun:
    """Start a run, which its method ``end`` ends. The arguments are those of :func:`track`.

    A run below another one (``mlflow.parentRunId``) starts even if the server is away, and is created when it is back,
    so that a sweep goes on.
    """
    if not tracking.enabled:
        return TrackedRun()
    uri, database = _resolve(tracking.uri)
    tags = {**_tags(), **(tags or {})}
    creation: Creation | None = None
    run_id = None
    try:
        with _lock(database):
            mlflow = mlflow_client(uri)
            experiment = _experiment(mlflow, tracking.experiment, database)
            send_leftovers(tracking.unsent, uri)
            _close_stale(mlflow, experiment)
            run_id = mlflow.create_run(experiment, tags=tags, run_name=run_name).info.run_id
    except InputError:
        raise
    except Exception as error:
        if "mlflow.parentRunId" not in tags or is_reachable(uri):
            raise InputError(
                f"tracking.uri={tracking.uri}: MLflow cannot start a run there: {first_line(error)}; "
                "tracking.enabled=false runs without it"
            ) from error
        arguments = {"tags": tags, "run_name": run_name, "start_time": int(time.time() * 1000)}
        creation = Creation(experiment=tracking.experiment, arguments=arguments)
    destination = Destination(uri, run_id, creation)
    run = TrackedRun(Outbox(destination, tracking.unsent.absolute()))
    run.log_params(params or {})
    run.log_dict(config, "config.yaml")
    run.log_dict(versions(), "versions.json")
    return run


def _resolve(uri: str) -> tuple[str, Path | None]:
    """Return the URI with an absolute path, and the SQLite file that it names, or None."""
    prefix = "sqlite:///"
    if not uri.startswith(prefix) or uri.endswith(":memory:"):
        return uri, None
    database = Path(uri.removeprefix(prefix)).expanduser().absolute()
    refuse_shared_database(database, f"tracking.uri={uri}")
    database.parent.mkdir(parents=True, exist_ok=True)
    return f"{prefix}{database}", database


@contextmanager
def _lock(database: Path | None) -> Iterator[None]:
    """Exclude other processes, as MLflow fails if two create a database or an experiment at the same time."""
    if database is None:
        yield
        return
    with Path(f"{database}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # released when the file is closed
        yield


def _experiment(client: MlflowClient, name: str, database: Path | None) -> str:
    """Return the experiment's id. A new experiment is created with its artifacts beside the database."""
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        location = (database.parent / "mlartifacts").as_uri() if database else None
        return str(client.create_experiment(name, artifact_location=location, tags=experiment_tags()))
    if experiment.lifecycle_stage != "active":
        raise InputError(f"tracking.experiment={name}: deleted in MLflow; restore it there or take another name")
    for key, value in experiment_tags().items():
        if experiment.tags.get(key) != value:
            client.set_experiment_tag(experiment.experiment_id, key, value)
    return str(experiment.experiment_id)


def prepare_experiment(tracking: Tracking) -> tuple[str, str]:
    """Make the experiment and its view if they are missing.

    Returns:
        the URI with an absolute path, and the id of the experiment.

    Raises:
        InputError: MLflow cannot be reached there, or the experiment was deleted.
    """
    uri, database = _resolve(tracking.uri)
    try:
        with _lock(database):
            return uri, _experiment(mlflow_client(uri), tracking.experiment, database)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"tracking.uri={tracking.uri}: MLflow cannot be used there: {first_line(error)}") from error


def close_stale_runs(tracking: Tracking) -> None:
    """End the runs of this host that are RUNNING although their process is gone.

    If that fails there is only a warning, as the next run that starts does the same.
    """
    uri, database = _resolve(tracking.uri)
    try:
        with _lock(database):
            mlflow = mlflow_client(uri)
            _close_stale(mlflow, _experiment(mlflow, tracking.experiment, database))
    except Exception as error:
        LOG.warning("MLflow: runs of processes that are gone could not be closed: %s", error)


def _close_stale(client: MlflowClient, experiment: str) -> None:
    query = f"attributes.status = 'RUNNING' and tags.`stc.host` = '{socket.gethostname()}'"
    for run in client.search_runs([experiment], filter_string=query):
        tags = run.data.tags
        try:
            process = Process(tags["stc.host"], int(tags["stc.pid"]), float(tags["stc.pid_started"]))
        except (KeyError, ValueError):
            continue  # stc did not start it
        # The status is read again, as the run may have ended since the search.
        if not process.alive and client.get_run(run.info.run_id).info.status == "RUNNING":
            client.set_tag(run.info.run_id, "stc.message", "its process ended without closing the run")
            client.set_terminated(run.info.run_id, "KILLED")


def _tags() -> dict[str, str]:
    process = Process.this()
    tags = {
        "stc.host": process.host,
        "stc.pid": str(process.pid),
        "stc.pid_started": repr(process.started),
        "mlflow.source.name": Path(sys.argv[0]).name,
        "stc.command": shlex.join(sys.argv),
        "mlflow.source.type": "LOCAL",
    }
    checkout = git_commit()
    if checkout is not None:
        tags |= {"mlflow.source.git.commit": checkout[0], "stc.git_dirty": str(checkout[1]).lower()}
    return tags
