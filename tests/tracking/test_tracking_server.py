"""Runs on a real MLflow server that goes away and comes back."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow import MlflowClient

from stc.errors import InputError
from stc.tracking import Tracking, outbox, prepare_experiment, track
from stc.tracking import __main__ as ui
from stc.tracking.view import view_path


class Server:
    """An MLflow server on a free port of this machine; it keeps its port and its data when it is started again."""

    def __init__(self, home: Path) -> None:
        self.home = home
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        arguments = [
            sys.executable, "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{self.home}/mlflow.db",
            "--artifacts-destination", str(self.home / "artifacts"), "--host", "127.0.0.1", "--port", str(self.port),
            "--workers", "1",
        ]  # fmt: skip
        log = (self.home / "server.log").open("a")
        environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # starts in half the time
        self.process = subprocess.Popen(
            arguments, cwd=self.home, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{self.uri}/health", timeout=1)
                return
            except OSError:
                time.sleep(0.1)
        raise AssertionError((self.home / "server.log").read_text())

    def stop(self) -> None:
        os.killpg(self.process.pid, 9)
        self.process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    server.stop()


@dataclass(frozen=True)
class Outage:
    """What happened while the server was away in the middle of the run ``through``, and afterwards."""

    through: str  # the run's id
    child: str | None  # the id of a run that was begun and ended below it meanwhile
    waited: float  # seconds that logging took while the server was away
    kept: dict[str, str]  # content of the files while it was away, when it was back, and after another run
    messages: list[str]


@pytest.fixture(scope="module")
def outage(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Outage:
    unsent = tmp_path_factory.mktemp("unsent")
    tracking = Tracking(uri=server.uri, unsent=unsent)
    kept: dict[str, str] = {}
    with pytest.MonkeyPatch.context() as patched, _log_messages() as messages:
        patched.setattr(outbox, "FLUSH_SECONDS", 0.1)
        patched.setattr(outbox, "LAST_WAIT", 1.0)
        with track(tracking, run_name="through", config={"a": 1}, params={"lang": "zh"}) as run:
            run.log_metrics({"loss": 3.0}, step=1)
            time.sleep(1)
            server.stop()
            before = time.monotonic()
            run.log_metrics({"loss": 2.0}, step=2)
            run.log_text("from while it was away", "note.txt")
            waited = time.monotonic() - before
            with track(tracking, run_name="child", config={}, tags={"mlflow.parentRunId": str(run.id)}) as child:
                child.log_metrics({"loss": 5.0}, step=1)
            kept["away"] = "".join(file.read_text() for file in unsent.glob("*.jsonl"))
            server.start()
            patched.setattr(outbox, "LAST_WAIT", 30.0)
            run.log_metrics({"loss": 1.0}, step=3)
        kept["back"] = "".join(file.read_text() for file in unsent.glob("*.jsonl"))
        with track(tracking, run_name="next", config={}):
            pass
        kept["next"] = "".join(file.read_text() for file in unsent.glob("*.jsonl"))
    return Outage(str(run.id), child.id, waited, kept, messages)


@contextmanager
def _log_messages() -> Iterator[list[str]]:
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    outbox.LOG.addHandler(handler)
    yield messages
    outbox.LOG.removeHandler(handler)


def losses(server: Server, run_id: str) -> list[float]:
    return [point.value for point in MlflowClient(server.uri).get_metric_history(run_id, "loss")]


def test_run_goes_on_while_the_server_is_away(outage: Outage) -> None:
    assert outage.waited < 0.5
    assert "from while it was away" in outage.kept["away"]


def test_server_that_is_back_gets_everything(server: Server, outage: Outage) -> None:
    client = MlflowClient(server.uri)
    assert losses(server, outage.through) == [3.0, 2.0, 1.0]
    assert client.get_run(outage.through).info.status == "FINISHED"
    assert {one.path for one in client.list_artifacts(outage.through)} == {"config.yaml", "versions.json", "note.txt"}
    assert "from while it was away" not in outage.kept["back"]


def test_next_run_sends_what_was_left_when_the_server_was_away_at_the_end(server: Server, outage: Outage) -> None:
    assert outage.child is None  # there was nobody to ask for an id
    assert '"child"' in outage.kept["back"]
    assert outage.kept["next"] == ""
    assert any("next run" in line for line in outage.messages)
    client = MlflowClient(server.uri)
    through = client.get_run(outage.through).info
    (child,) = client.search_runs([through.experiment_id], f"tags.`mlflow.parentRunId` = '{outage.through}'")
    assert (child.info.run_name, child.info.status, child.data.metrics) == ("child", "FINISHED", {"loss": 5.0})
    assert child.info.end_time < through.end_time  # when it ended, not when that was told


def test_server_away_at_the_start_is_an_error(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        nowhere = Tracking(uri=f"http://127.0.0.1:{probe.getsockname()[1]}", unsent=tmp_path)
        with pytest.raises(InputError, match=r"tracking\.uri=http"):  # noqa: SIM117
            with track(nowhere, run_name="x", config={}):
                pass


def test_the_addresses_of_table_and_charts_are_printed_for_a_server(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ui.main([f"--uri={server.uri}"]) == 0
    _, experiment = prepare_experiment(Tracking(uri=server.uri))
    said = [line.split()[-1] for line in capsys.readouterr().out.splitlines()]
    assert said == [f"{server.uri}/{view_path(experiment, charts=charts)}" for charts in (False, True)]
