"""A sweep as a user starts it: every job is run and accounted for, whatever becomes of one of them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile
from mlflow import MlflowClient
from processes import Command, until
from results_in_progress import held

import stc.jobs.sweep
from stc.config.job_names import describe_difference, describe_settings
from stc.jobs.status import LOST, JobStatus, job_statuses
from stc.system.paths import ROOT
from stc.system.process import Process

LAUNCHER = Path(__file__).parents[1] / "launcher"
FRESH = (
    "import sys, stc.run; code = stc.run.main();"
    "print([name for name in ('torch', 'mlflow') if name in sys.modules]); sys.exit(code)"
)


def filled(folder: Path) -> Path:
    """The folder, with data in ``good``, the same with an audio file missing in ``bad``, and other data in ``slow``
    and ``slower``."""
    for name in ("good", "bad", "slow", "slower"):
        data = folder / name
        data.mkdir()
        soundfile.write(data / "a.wav", [0.1] * 8000, 16_000)
        text = {"bad": "one", "slower": "slow"}.get(name, name)
        (data / "train.jsonl").write_text(f'{{"audio": "a.wav", "en": "{text}", "de": "eins"}}\n')
    (folder / "bad" / "a.wav").unlink()
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return filled(tmp_path)


@pytest.fixture
def stuck(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The split in ``slow`` and ``slower`` is being made by somebody else, as long as the test lasts. Sweeps may be
    launched by a pool."""
    monkeypatch.setenv("STC_ROOT", str(ROOT))
    monkeypatch.syspath_prepend(str(LAUNCHER))
    arguments = [f"data.path={home}/slow", "data.columns={audio: audio, source: en, target: de}", "tracking=none"]
    with held(home / "store", [*arguments, "pipeline.outputs=[train]"], "train"):
        yield


def settings(home: Path, *data: str, more: tuple[str, ...] = (), sweep: bool = True) -> list[str]:
    """Of a sweep over folders of data, of which nothing but the training split is asked for. It is shown in MLflow
    where there is a database for it."""
    return [
        *["-m"] * sweep, f"data.path={','.join(str(home / one) for one in data)}",
        "data.columns={audio: audio, source: en, target: de}", "pipeline.outputs=[train]",
        f"tracking.uri=sqlite:///{home}/mlflow.db", f"tracking.enabled={(home / 'mlflow.db').exists()}",
        f"store.dir={home}/store", f"hydra.sweep.dir={home}/sweep", f"hydra.run.dir={home}/out", *more,
    ]  # fmt: skip


def start(home: Path, *data: str, more: tuple[str, ...] = (), sweep: bool = True) -> Command:
    return Command("stc.run", *settings(home, *data, more=more, sweep=sweep), folder=home, first=haste)


def haste() -> None:
    stc.jobs.sweep.STOP_SECONDS = 2.0


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> tuple[Path, Command]:
    """A home with a sweep that has ended, of which the first job has failed and the second has not."""
    home = filled(tmp_path_factory.mktemp("mixed"))
    shutil.copyfile(migrated, home / "mlflow.db")
    sweep = start(home, "bad", "good")
    sweep.wait()
    return home, sweep


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A home with a sweep that has ended well, and was started without MLflow where an earlier one has left a job."""
    home = filled(tmp_path_factory.mktemp("good"))
    (home / "sweep" / "7").mkdir(parents=True)
    JobStatus(state="failed", overrides=("a=1",), process=Process.this(), code=1).write(home / "sweep" / "7")
    command = [sys.executable, "-c", FRESH, *settings(home, "good")]
    return home, subprocess.run(command, cwd=home, capture_output=True, text=True, check=False)


def states(home: Path) -> dict[str, str]:
    return {name: outcome.state for name, outcome in job_statuses(home / "sweep").items()}


def running(home: Path, job: str, former: int = 0) -> int:
    """The process that a job runs in, as soon as it does; ``former`` is one that is gone."""
    found: list[int] = []

    def begun() -> bool:
        outcome = job_statuses(home / "sweep").get(job)
        if outcome is not None and outcome.running and outcome.process.pid != former:
            found.append(outcome.process.pid)
        return bool(found)

    until(begun, f"job {job}", 60)
    return found[0]


def rows(stdout: str) -> list[list[str]]:
    return [line.split() for line in stdout.splitlines() if line.strip()[:1].isdigit()]


def test_failed_job_stops_no_other_and_is_told_at_the_end(mixed: tuple[Path, Command]) -> None:
    home, sweep = mixed
    assert sweep.wait() == 1
    assert states(home) == {"0": "failed", "1": "finished"}
    failed, finished, counted = rows(sweep.stdout)[-3:]
    assert "failed:" in failed
    assert "bad/a.wav is missing" in " ".join(failed)
    assert finished[-1] == "finished"
    assert " ".join(counted) == "1 of 2 jobs finished."
    assert f"logs: {home}/sweep/JOB/job.log" in sweep.stdout
    assert "Traceback" not in sweep.stderr


def test_log_of_a_job_has_what_it_said_and_its_traceback(mixed: tuple[Path, Command]) -> None:
    home, _ = mixed
    failed, finished = ((home / "sweep" / job / "job.log").read_text() for job in ("0", "1"))
    assert "Traceback" in failed
    assert "bad/a.wav is missing" in failed.splitlines()[-1]
    assert "train (manifest" in finished
    assert "result.json" in finished
    assert "Traceback" not in finished


def test_sweep_is_a_run_in_mlflow_with_one_below_it_for_every_job(mixed: tuple[Path, Command]) -> None:
    home, process = mixed
    bad, good = home / "bad", home / "good"
    assert shown(home) == [
        ("data.path: sweep of 2", "FAILED", False),
        (f"path {bad}", "FAILED", True),
        (f"path {good}", "FINISHED", True),
    ], process.stderr
    sweep, failed, _ = client(home).search_runs(["1"], order_by=["attributes.start_time"])
    assert failed.data.tags["mlflow.parentRunId"] == sweep.info.run_id
    assert failed.data.params["data.path"] == str(bad)
    assert "1 of 2 jobs finished" in sweep.data.tags["mlflow.note.content"]
    artifacts = [client(home).list_artifacts(run.info.run_id) for run in (sweep, failed)]
    assert [{one.path for one in found} for found in artifacts] == [
        {"config.yaml", "versions.json", "sweep.md"},
        {"config.yaml", "versions.json", "stages.json", "traceback.txt"},
    ]


def shown(home: Path) -> list[tuple[str, str, bool]]:
    """Name, status and whether it is below another one, of each run in MLflow, in the order of their start."""
    runs = client(home).search_runs(["1"], order_by=["attributes.start_time"])
    return [(run.info.run_name, run.info.status, "mlflow.parentRunId" in run.data.tags) for run in runs]


def client(home: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{home}/mlflow.db")


def test_fail_fast_begins_no_job_after_one_that_failed(home: Path) -> None:
    sweep = start(home, "bad", "good", more=("fail_fast=true",))
    assert sweep.wait() == 1
    assert states(home) == {"0": "failed"}
    assert "not begun" in sweep.stdout


def test_sweep_that_finishes_ends_with_code_0_whatever_an_earlier_one_left(
    good: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    home, sweep = good
    assert sweep.returncode == 0, sweep.stderr
    assert states(home) == {"0": "finished"}


def test_sweep_without_tracking_comes_without_mlflow_and_torch(
    good: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    assert good[1].stdout.splitlines()[-1] == "[]"


def test_killed_worker_takes_no_other_job_with_it(home: Path, stuck: None) -> None:
    """The pool breaks with its worker; what it has lost is tried once more, and then given up."""
    sweep = start(home, "slow", "bad", "good", more=("hydra/launcher=pool",))
    first = running(home, "0")
    os.kill(first, signal.SIGKILL)
    os.kill(running(home, "0", first), signal.SIGKILL)
    assert sweep.wait() == 1
    assert states(home) == {"0": "killed", "1": "failed", "2": "finished"}
    assert LOST in sweep.stdout


def test_signal_stops_the_whole_sweep(home: Path, stuck: None) -> None:
    sweep = start(home, "slow", "bad")
    assert running(home, "0") == sweep.pid
    os.kill(sweep.pid, signal.SIGTERM)
    assert sweep.wait() == 128 + signal.SIGTERM
    assert states(home) == {"0": "killed"}
    assert "0 of 2 jobs finished" in sweep.stdout
    assert "Traceback" not in sweep.stderr


def test_signal_stops_a_sweep_with_workers_of_its_own_and_mlflow_is_told(
    home: Path, stuck: None, migrated: Path
) -> None:
    """Of the two jobs that run, one gets no chance to stop or to say anything itself."""
    shutil.copyfile(migrated, home / "mlflow.db")
    sweep = start(home, "good", "slow", "slower", "bad", more=("hydra/launcher=pool",))
    workers = [running(home, "1"), running(home, "2")]
    until(lambda: sorted(status(home)) == ["FINISHED", "RUNNING", "RUNNING", "RUNNING"], "two jobs in MLflow", 60)
    os.kill(workers[0], signal.SIGSTOP)  # it hears of no signal but the last
    os.kill(sweep.pid, signal.SIGTERM)
    assert sweep.wait() == 128 + signal.SIGTERM
    assert states(home) == {"0": "finished", "1": "killed", "2": "killed"}
    assert "1 of 4 jobs finished" in sweep.stdout
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)
    assert sorted(status(home)) == ["FINISHED", "KILLED", "KILLED", "KILLED"]


def status(home: Path) -> list[str]:
    return [status for _, status, _ in shown(home)]


def test_single_run_leaves_its_status_and_ends_with_its_code(home: Path) -> None:
    single = start(home, "bad", sweep=False)
    assert single.wait() == 1
    assert json.loads((home / "out" / "status.json").read_text())["state"] == "failed"
    assert "jobs finished" not in single.stdout


def test_tracking_that_cannot_start_stops_the_sweep_before_its_first_job(home: Path) -> None:
    (home / "mlflow.db").write_text("this is no database" * 100)
    sweep = start(home, "good")
    assert sweep.wait() == 1
    assert "tracking.uri=sqlite" in sweep.stderr
    assert "Traceback" not in sweep.stderr
    assert states(home) == {}


def test_jobs_are_named_by_what_differs() -> None:
    overrides = ["prune=block_influence", "++prune.ratio=0.125", "lang=zh", "++stages.heal.epochs=3", "++data.limit=8"]
    swept = ["stages.heal.epochs", "prune", "prune.ratio", "lang"]
    assert describe_difference(overrides, swept) == "zh 12.5 % block_influence epochs 3"
    assert describe_difference(overrides, []) == ""


def test_a_single_run_is_named_by_what_it_was_asked_for_beyond_the_usual() -> None:
    overrides = [
        "lang=zh",
        "prune.ratio=0.5",
        "++finetune.epochs=2",
        "stages.heal.epochs=3",
        "quant=int8",
        "store.dir=x",
    ]
    assert describe_settings(overrides) == "int8 finetune.epochs 2 heal.epochs 3"


def test_job_whose_process_is_gone_is_lost(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from stc.system.process import Process;"
        "from stc.jobs.status import JobStatus;"
        "JobStatus(state='running', overrides=('a=1',), process=Process.this()).write(Path(sys.argv[1]))"
    )
    (tmp_path / "0").mkdir()
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "0")], check=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    written = JobStatus.model_validate_json((tmp_path / "0" / "status.json").read_text())
    assert written.running
    (found,) = job_statuses(tmp_path).values()
    assert (found.state, found.error, found.code) == ("killed", LOST, 1)


@pytest.mark.parametrize(
    "text", ["[]", "{", '{"state": "finished"}', "\udcff", "[" * 100_000], ids=lambda text: text[:9]
)
def test_damaged_status_is_that_of_no_job(text: str, tmp_path: Path) -> None:
    (tmp_path / "status.json").write_bytes(text.encode(errors="surrogateescape"))
    assert job_statuses(tmp_path) == {}


def test_job_statuses_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for name in ("10", "9", "0"):
        (tmp_path / name).mkdir()
        JobStatus(state="finished", overrides=(), process=Process.this()).write(tmp_path / name)
    assert list(job_statuses(tmp_path)) == ["0", "9", "10"]
