"""Runs in MLflow from start to end, with a real SQLite database."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from mlflow import MlflowClient
from processes import at_once, note, noted, until, working
from processes import send as send_signal

from stc.errors import InputError
from stc.system.signals import Killed
from stc.tracking import Tracking, track
from stc.tracking.run import Dataset

WITHOUT_TORCH = """
import sys
from stc.tracking import Tracking, track
with track(Tracking(uri=sys.argv[1]), run_name="fresh", config={}):
    pass
print([name for name in ("torch", "transformers") if name in sys.modules])
"""


@pytest.fixture
def tracking(migrated: Path, tmp_path: Path) -> Tracking:
    shutil.copyfile(migrated, tmp_path / "mlflow.db")
    return Tracking(uri=f"sqlite:///{tmp_path / 'mlflow.db'}")


@pytest.fixture
def client(tracking: Tracking) -> MlflowClient:
    return MlflowClient(tracking_uri=tracking.uri)


def tracked(tracking: Tracking, ids: Path, seconds: float = 0) -> None:
    """A run of so many seconds, whose id is added to ``ids``; for a process of its own."""
    try:
        with track(tracking, run_name="child", config={}) as run:
            note(ids, str(run.id))
            time.sleep(seconds)
    except Killed as killed:
        sys.exit(128 + killed.signum)


def begun(ids: Path) -> str:
    """The id of the run that is noted there, as soon as it is."""
    until(lambda: noted(ids), "a run")
    return noted(ids)[0]


def artifact(client: MlflowClient, run_id: str, name: str) -> str:
    return Path(client.download_artifacts(run_id, name)).read_text(encoding="utf-8")


def test_run_that_ends_well_is_finished(tracking: Tracking, client: MlflowClient) -> None:
    with track(tracking, run_name="good", config={}) as run:
        assert run.id is not None
        assert client.get_run(run.id).info.status == "RUNNING"
    info = client.get_run(run.id).info
    assert (info.status, info.run_name) == ("FINISHED", "good")


def test_exception_marks_the_run_failed_and_keeps_the_traceback(tracking: Tracking, client: MlflowClient) -> None:
    with pytest.raises(ValueError, match="broken"), track(tracking, run_name="bad", config={}) as run:
        raise ValueError("broken")
    assert run.id is not None
    kept = client.get_run(run.id)
    assert kept.info.status == "FAILED"
    assert kept.data.tags["stc.message"] == "ValueError: broken"
    assert 'raise ValueError("broken")' in artifact(client, run.id, "traceback.txt")


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_signal_marks_the_run_killed(
    tracking: Tracking, client: MlflowClient, tmp_path: Path, signum: signal.Signals
) -> None:
    with working(partial(tracked, tracking, tmp_path / "ids", 60)) as (child,):
        run_id = begun(tmp_path / "ids")
        send_signal(child, signum)
        assert code(child) == 128 + signum
    kept = client.get_run(run_id)
    assert kept.info.status == "KILLED"
    assert signum.name in kept.data.tags["stc.message"]


def code(process: BaseProcess) -> int | None:
    process.join(60)
    return process.exitcode


def test_run_of_a_dead_process_is_closed_by_the_next_and_a_live_one_is_not(
    tracking: Tracking, client: MlflowClient, tmp_path: Path
) -> None:
    files = [tmp_path / "dying", tmp_path / "living"]
    with working(*(partial(tracked, tracking, file, 60) for file in files)) as (dying, _):
        dead, alive = map(begun, files)
        dying.kill()
        assert code(dying) == -signal.SIGKILL
        assert client.get_run(dead).info.status == "RUNNING"
        with track(tracking, run_name="next", config={}):
            assert client.get_run(dead).info.status == "KILLED"
            assert client.get_run(alive).info.status == "RUNNING"


def test_run_that_ends_during_the_search_for_stale_runs_keeps_its_status(
    tracking: Tracking, client: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with working(partial(tracked, tracking, tmp_path / "ids", 60)) as (child,):
        run_id = begun(tmp_path / "ids")
        found = client.search_runs([client.get_run(run_id).info.experiment_id])
        send_signal(child, signal.SIGTERM)
        code(child)
    monkeypatch.setattr(MlflowClient, "search_runs", lambda *_, **__: found)
    with track(tracking, run_name="next", config={}):
        pass
    assert "SIGTERM" in client.get_run(run_id).data.tags["stc.message"]


def test_several_processes_create_the_same_database_at_once(tmp_path: Path) -> None:
    new = Tracking(uri=f"sqlite:///{tmp_path / 'new' / 'mlflow.db'}")
    at_once(4, partial(tracked, new, tmp_path / "ids"))
    client = MlflowClient(tracking_uri=new.uri)
    [experiment] = [e for e in client.search_experiments() if e.name == "stc"]
    runs = client.search_runs([experiment.experiment_id])
    assert [run.info.status for run in runs] == ["FINISHED"] * 4
    assert {run.info.run_id for run in runs} == set(noted(tmp_path / "ids"))


def test_new_database_is_created_without_torch_and_without_log_lines(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_TORCH, f"sqlite:///{tmp_path / 'mlflow.db'}"]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (made.stdout, made.stderr) == ("[]\n", "")


def test_parameters_are_logged_and_the_config_is_an_artifact(tracking: Tracking, client: MlflowClient) -> None:
    many = {f"key{number}": str(number) for number in range(150)}  # more than MLflow takes at once
    params = {"prune.ratio": "0.5", "long": "x" * 7000, **many}
    with track(tracking, run_name="params", config={"prune": {"ratio": 0.5}}, params=params) as run:
        pass
    assert run.id is not None
    kept = client.get_run(run.id).data.params
    assert (kept["prune.ratio"], kept["key149"], len(kept["long"]), len(kept)) == ("0.5", "149", 6000, 152)
    assert "ratio: 0.5" in artifact(client, run.id, "config.yaml")


def test_metrics_keep_their_steps(tracking: Tracking, client: MlflowClient) -> None:
    with track(tracking, run_name="metrics", config={}) as run:
        for step in range(1200):
            run.log_metrics({"heal/loss": 1 / (1 + step)}, step=step)
        run.log_metrics({"chrF++ (de)": 50.0})
    assert run.id is not None
    history = client.get_metric_history(run.id, "heal/loss")
    assert sorted((point.step, point.value) for point in history) == [(s, 1 / (1 + s)) for s in range(1200)]
    assert client.get_run(run.id).data.metrics["chrF__ _de_"] == 50.0


def test_tables_and_versions_are_artifacts(tracking: Tracking, client: MlflowClient) -> None:
    with track(tracking, run_name="shown", config={}, tags={"mlflow.parentRunId": "abc"}) as run:
        run.log_table({"source": ["a"], "reference": ["b"], "teacher": ["ü"]}, "translations.json")
    assert run.id is not None
    assert client.get_run(run.id).data.tags["mlflow.parentRunId"] == "abc"
    assert {"stc", "torch", "transformers", "peft"} <= json.loads(artifact(client, run.id, "versions.json")).keys()
    assert '"columns":["source","reference","teacher"]' in artifact(client, run.id, "translations.json")


def test_data_and_model_are_shown_by_reference(tracking: Tracking, client: MlflowClient, tmp_path: Path) -> None:
    with track(tracking, run_name="shown", config={}) as run:
        run.log_datasets([Dataset("test de", "0123abcd", tmp_path / "data", "testing", {"num_rows": 4})])
        run.log_model("pruned: nf4", {"folder": str(tmp_path / "model")}, {"compressed/size_mb": 6.5})
    kept = client.get_run(str(run.id))
    (data,) = kept.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("test de", "0123abcd")
    assert json.loads(data.dataset.source) == {"uri": str(tmp_path / "data")}
    assert [tag.value for tag in data.tags] == ["testing"]
    model = client.get_logged_model(kept.outputs.model_outputs[0].model_id)
    assert (str(model.status), model.params) == ("READY", {"folder": str(tmp_path / "model")})
    assert [(one.key, one.value) for one in model.metrics or []] == [("compressed/size_mb", 6.5)]
    assert client.list_artifacts(str(run.id), "model") == []


def test_artifacts_are_beside_the_database(tracking: Tracking, tmp_path: Path) -> None:
    with track(tracking, run_name="where", config={}) as run:
        run.log_text("hello", "note.txt")
    assert (tmp_path / "mlartifacts" / str(run.id) / "artifacts" / "note.txt").read_text() == "hello"


def test_failing_tracking_warns_once_and_does_not_stop_the_run(
    tracking: Tracking, client: MlflowClient, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with track(tracking, run_name="leaky", config={}) as run:
        run.log_file(tmp_path / "missing")
        run.log_file(tmp_path / "missing")
    assert run.id is not None
    assert client.get_run(run.id).info.status == "FINISHED"
    assert [record.levelname for record in caplog.records if record.name == "stc.tracking"] == ["WARNING"]


def test_store_that_cannot_be_opened_is_an_error_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("this is no database" * 100)
    with pytest.raises(InputError, match=r"tracking\.uri=sqlite"):  # noqa: SIM117
        with track(Tracking(uri=f"sqlite:///{tmp_path / 'mlflow.db'}"), run_name="x", config={}):
            pass


def test_database_on_a_file_system_that_machines_share_is_refused(
    tracking: Tracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stc.system.machine.network_filesystem", lambda path: "nfs4")  # none can be mounted here
    with pytest.raises(InputError, match="nfs4"), track(tracking, run_name="x", config={}):
        pass


def test_run_id_in_the_environment_is_ignored(
    tracking: Tracking, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with track(tracking, run_name="first", config={}) as first:
        pass
    monkeypatch.setenv("MLFLOW_RUN_ID", str(first.id))
    with track(tracking, run_name="second", config={}) as second:
        pass
    assert first.id != second.id
    assert client.get_run(str(first.id)).info.run_name == "first"


def test_previous_signal_handlers_are_restored(tracking: Tracking) -> None:
    before = [signal.getsignal(signum) for signum in (signal.SIGTERM, signal.SIGINT)]
    with pytest.raises(Killed), track(tracking, run_name="x", config={}):
        os.kill(os.getpid(), signal.SIGTERM)
    assert [signal.getsignal(signum) for signum in (signal.SIGTERM, signal.SIGINT)] == before


def test_disabled_tracking_writes_nothing(tmp_path: Path) -> None:
    tracking = Tracking(enabled=False, uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    with track(tracking, run_name="x", config={"a": 1}) as run:
        run.log_metrics({"loss": 1.0}, step=1)
        run.log_text("a", "a.txt")
        run.log_table({"a": [1]}, "a.json")
    assert run.id is None
    assert list(tmp_path.iterdir()) == []
