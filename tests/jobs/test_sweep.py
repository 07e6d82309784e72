"""A sweep as a user starts it: every job is run and accounted for, whatever becomes of one of them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile
from held import held
from mlflow import MlflowClient

from stc.config.override_names import differing, further
from stc.jobs.status import LOST, Outcome, outcomes
from stc.system.paths import ROOT

LAUNCHER = Path(__file__).parents[1] / "launcher"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Data in ``good``, the same with an audio file missing in ``bad``, and other data in ``slow``."""
    for name in ("good", "bad", "slow"):
        folder = tmp_path / name
        folder.mkdir()
        soundfile.write(folder / "a.wav", [0.1] * 8000, 16_000)
        text = "one" if name == "bad" else name
        (folder / "train.jsonl").write_text(f'{{"audio": "a.wav", "en": "{text}", "de": "eins"}}\n')
    (tmp_path / "bad" / "a.wav").unlink()
    return tmp_path


@pytest.fixture
def stuck(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The split in ``slow`` is being made by somebody else, as long as the test lasts."""
    monkeypatch.setenv("STC_ROOT", str(ROOT))
    arguments = [f"data.path={home}/slow", "data.columns={audio: audio, source: en, target: de}", "tracking=none"]
    with held(home / "store", [*arguments, "pipeline.outputs=[train]"], "train"):
        yield


def start(
    home: Path,
    *data: str,
    more: tuple[str, ...] = (),
    sweep: bool = True,
    run: tuple[str, ...] = ("-m", "stc.run"),
) -> subprocess.Popen[str]:
    """A sweep over folders of data, of which nothing but the training split is asked for. It is shown in MLflow where
    there is a database for it."""
    arguments = [
        sys.executable, *run, *["-m"] * sweep, f"data.path={','.join(str(home / one) for one in data)}",
        "data.columns={audio: audio, source: en, target: de}", "pipeline.outputs=[train]",
        f"tracking.uri=sqlite:///{home}/mlflow.db", f"tracking.enabled={(home / 'mlflow.db').exists()}",
        f"store.dir={home}/store", f"hydra.sweep.dir={home}/sweep", f"hydra.run.dir={home}/out", *more,
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{LAUNCHER}"}
    pipe = subprocess.PIPE
    return subprocess.Popen(arguments, cwd=home, env=environment, stdout=pipe, stderr=pipe, text=True)


def states(home: Path) -> dict[str, str]:
    return {name: outcome.state for name, outcome in outcomes(home / "sweep").items()}


def running(home: Path, job: str, former: int = 0) -> int:
    """The process that a job runs in, as soon as it does; ``former`` is one that is gone."""
    for _ in range(600):
        outcome = outcomes(home / "sweep").get(job)
        if outcome is not None and outcome.running and outcome.process.pid != former:
            return outcome.process.pid
        time.sleep(0.05)
    raise AssertionError(f"job {job} was not begun: {states(home)}")


def rows(stdout: str) -> list[list[str]]:
    return [line.split() for line in stdout.splitlines() if line.strip()[:1].isdigit()]


def test_failed_job_stops_no_other_and_is_told_at_the_end(home: Path) -> None:
    sweep = start(home, "bad", "good")
    stdout, stderr = sweep.communicate(timeout=60)
    assert sweep.returncode == 1
    assert states(home) == {"0": "failed", "1": "finished"}
    failed, finished, counted = rows(stdout)[-3:]
    assert "failed:" in failed
    assert "bad/a.wav is missing" in " ".join(failed)
    assert finished[-1] == "finished"
    assert " ".join(counted) == "1 of 2 jobs finished."
    assert f"logs: {home}/sweep/JOB/job.log" in stdout
    assert "Traceback" not in stderr


def test_log_of_a_job_has_what_it_said_and_its_traceback(home: Path) -> None:
    start(home, "bad", "good").communicate(timeout=60)
    failed, finished = ((home / "sweep" / job / "job.log").read_text() for job in ("0", "1"))
    assert "Traceback" in failed
    assert "bad/a.wav is missing" in failed.splitlines()[-1]
    assert "train (manifest" in finished
    assert "result.json" in finished
    assert "Traceback" not in finished


def test_fail_fast_begins_no_job_after_one_that_failed(home: Path) -> None:
    sweep = start(home, "bad", "good", more=("fail_fast=true",))
    stdout, _ = sweep.communicate(timeout=60)
    assert sweep.returncode == 1
    assert states(home) == {"0": "failed"}
    assert "not begun" in stdout


def test_sweep_that_finishes_ends_with_code_0_whatever_an_earlier_one_left(home: Path) -> None:
    (home / "sweep" / "7").mkdir(parents=True)
    start(home, "bad").communicate(timeout=60)
    (home / "sweep" / "0" / "status.json").rename(home / "sweep" / "7" / "status.json")
    sweep = start(home, "good")
    sweep.communicate(timeout=60)
    assert sweep.returncode == 0
    assert states(home) == {"0": "finished"}


def test_killed_worker_takes_no_other_job_with_it(home: Path, stuck: None) -> None:
    """The pool breaks with its worker; what it has lost is tried once more, and then given up."""
    sweep = start(home, "slow", "bad", "good", more=("hydra/launcher=pool",))
    first = running(home, "0")
    os.kill(first, signal.SIGKILL)
    os.kill(running(home, "0", first), signal.SIGKILL)
    stdout, _ = sweep.communicate(timeout=60)
    assert sweep.returncode == 1
    assert states(home) == {"0": "killed", "1": "failed", "2": "finished"}
    assert LOST in stdout


@pytest.mark.parametrize("launcher", ["basic", "pool"])
def test_signal_stops_the_whole_sweep(home: Path, stuck: None, launcher: str) -> None:
    sweep = start(home, "slow", "bad", more=(f"hydra/launcher={launcher}", "seed=1,2"))
    worker = running(home, "0")
    sweep.send_signal(signal.SIGTERM)
    stdout, stderr = sweep.communicate(timeout=60)
    assert sweep.returncode == 128 + signal.SIGTERM
    assert states(home)["0"] == "killed"
    assert "0 of 4 jobs finished" in stdout
    assert not Path(f"/proc/{worker}").exists()
    if launcher == "basic":
        assert states(home) == {"0": "killed"}
        assert "Traceback" not in stderr


def test_single_run_leaves_its_status_and_ends_with_its_code(home: Path) -> None:
    single = start(home, "bad", sweep=False)
    stdout, _ = single.communicate(timeout=60)
    assert single.returncode == 1
    assert json.loads((home / "out" / "status.json").read_text())["state"] == "failed"
    assert "jobs finished" not in stdout


def shown(home: Path) -> list[tuple[str, str, bool]]:
    """Name, status and whether it is below another one, of each run in MLflow, in the order of their start."""
    runs = client(home).search_runs(["1"], order_by=["attributes.start_time"])
    return [(run.info.run_name, run.info.status, "mlflow.parentRunId" in run.data.tags) for run in runs]


def client(home: Path) -> MlflowClient:
    return MlflowClient(f"sqlite:///{home}/mlflow.db")


def test_sweep_is_a_run_in_mlflow_with_one_below_it_for_every_job(home: Path, migrated: Path) -> None:
    shutil.copyfile(migrated, home / "mlflow.db")
    said = start(home, "bad", "good").communicate(timeout=120)
    bad, good = home / "bad", home / "good"
    assert shown(home) == [
        ("data.path: sweep of 2", "FAILED", False),
        (f"path {bad}", "FAILED", True),
        (f"path {good}", "FINISHED", True),
    ], said
    sweep, failed, _ = client(home).search_runs(["1"], order_by=["attributes.start_time"])
    assert failed.data.tags["mlflow.parentRunId"] == sweep.info.run_id
    assert failed.data.params["data.path"] == str(bad)
    assert "1 of 2 jobs finished" in sweep.data.tags["mlflow.note.content"]
    artifacts = [client(home).list_artifacts(run.info.run_id) for run in (sweep, failed)]
    assert [{one.path for one in found} for found in artifacts] == [
        {"config.yaml", "sweep.md"},
        {"config.yaml", "traceback.txt"},
    ]


def test_stopped_sweep_is_killed_in_mlflow_and_so_is_the_job_that_ran(home: Path, stuck: None, migrated: Path) -> None:
    """The worker gets no chance to say so itself."""
    shutil.copyfile(migrated, home / "mlflow.db")
    sweep = start(home, "slow", "good", more=("hydra/launcher=pool",))
    worker = running(home, "0")
    for _ in range(600):
        if sorted(status for _, status, _ in shown(home)) == ["FINISHED", "RUNNING", "RUNNING"]:
            break
        time.sleep(0.05)
    os.kill(worker, signal.SIGSTOP)  # it hears of no signal but the last
    sweep.send_signal(signal.SIGTERM)
    sweep.communicate(timeout=120)
    assert sweep.returncode == 128 + signal.SIGTERM
    assert sorted(status for _, status, _ in shown(home)) == ["FINISHED", "KILLED", "KILLED"]


def test_sweep_without_tracking_comes_without_mlflow_and_torch(home: Path) -> None:
    code = (
        "import sys, stc.run; code = stc.run.main();"
        "print([name for name in ('torch', 'mlflow') if name in sys.modules]); sys.exit(code)"
    )
    sweep = start(home, "good", run=("-c", code))
    stdout, stderr = sweep.communicate(timeout=60)
    assert sweep.returncode == 0, stderr
    assert stdout.splitlines()[-1] == "[]"


def test_tracking_that_cannot_start_stops_the_sweep_before_its_first_job(home: Path) -> None:
    (home / "mlflow.db").write_text("this is no database" * 100)
    sweep = start(home, "good")
    _, stderr = sweep.communicate(timeout=60)
    assert sweep.returncode == 1
    assert "tracking.uri=sqlite" in stderr
    assert "Traceback" not in stderr
    assert states(home) == {}


def test_jobs_are_named_by_what_differs() -> None:
    overrides = ["prune=block_influence", "++prune.ratio=0.125", "lang=zh", "++stages.heal.epochs=3", "++data.limit=8"]
    swept = ["stages.heal.epochs", "prune", "prune.ratio", "lang"]
    assert differing(overrides, swept) == "zh 12.5 % block_influence epochs 3"
    assert differing(overrides, []) == ""


def test_a_single_run_is_named_by_what_it_was_asked_for_beyond_the_usual() -> None:
    overrides = [
        "lang=zh",
        "prune.ratio=0.5",
        "++finetune.epochs=2",
        "stages.heal.epochs=3",
        "quant=int8",
        "store.dir=x",
    ]
    assert further(overrides) == "int8 finetune.epochs 2 heal.epochs 3"


def test_job_whose_process_is_gone_is_lost(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from stc.system.process import Process;"
        "from stc.jobs.status import Outcome;"
        "Outcome(state='running', overrides=('a=1',), process=Process.this()).write(Path(sys.argv[1]))"
    )
    (tmp_path / "0").mkdir()
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "0")], check=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    written = Outcome.model_validate_json((tmp_path / "0" / "status.json").read_text())
    assert written.running
    (found,) = outcomes(tmp_path).values()
    assert (found.state, found.error, found.code) == ("killed", LOST, 1)


@pytest.mark.parametrize(
    "text", ["[]", "{", '{"state": "finished"}', "\udcff", "[" * 100_000], ids=lambda text: text[:9]
)
def test_damaged_status_is_that_of_no_job(text: str, tmp_path: Path) -> None:
    (tmp_path / "status.json").write_bytes(text.encode(errors="surrogateescape"))
    assert outcomes(tmp_path) == {}


def test_outcomes_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    from stc.system.process import Process

    for name in ("10", "9", "0"):
        (tmp_path / name).mkdir()
        Outcome(state="finished", overrides=(), process=Process.this()).write(tmp_path / name)
    assert list(outcomes(tmp_path)) == ["0", "9", "10"]
