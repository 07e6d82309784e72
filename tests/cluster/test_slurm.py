"""Sweeps on a real SLURM: its jobs share one store, and those it interrupts go on where they were."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Start
from results_in_progress import Held
from slurm import Slurm, until

from stc.jobs.slurm import cancel_jobs, has_queued_jobs
from stc.jobs.status import job_statuses

pytestmark = pytest.mark.slurm

MINUTES = 4
LIGHT = ("hydra.launcher.cpus_per_task=1", "hydra.launcher.mem_gb=1")


@pytest.fixture
def submit(slurm: Slurm, start: Start) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """``submit(argument, …)``: a sweep whose jobs are SLURM's; they are cancelled at the end of the test."""

    def begin(*arguments: str) -> subprocess.Popen[str]:
        return start("hydra/launcher=slurm", *LIGHT, *arguments, environment=slurm.environment)

    yield begin
    slurm.empty()


def states(home: Path) -> dict[str, str]:
    return {name: outcome.state for name, outcome in job_statuses(home / "sweep").items()}


def result(home: Path, job: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((home / "sweep" / str(job) / "result.json").read_text())
    return found


def ended(sweep: subprocess.Popen[str]) -> str:
    """What a sweep that has to end well printed."""
    stdout, stderr = sweep.communicate(timeout=60 * MINUTES)
    assert sweep.returncode == 0, stdout + stderr
    return stdout


def stuck(home: Path, slurm: Slurm) -> str:
    """The id of the one job of a sweep over ``slow``, as soon as it has made one split and waits for the other."""
    until(lambda: "running" in states(home).values() and list((home / "store" / "manifest").glob("*")), "a split", 120)
    (job,) = slurm.jobs()
    return job


def test_four_jobs_two_at_a_time_make_each_stage_once(
    submit: Callable[..., subprocess.Popen[str]], slurm: Slurm, tiny_model: Path, home: Path
) -> None:
    for split in ("selection", "test"):
        (home / "good" / f"{split}.jsonl").write_text(f'{{"audio": "{split}.wav", "en": "{split}", "de": "{split}"}}\n')
        (home / "good" / f"{split}.wav").write_bytes((home / "good" / "dev.wav").read_bytes())
    sweep = submit(
        f"data.path={home}/good", f"model.path={tiny_model}", "model.max_new_tokens=4", "prune.ratio=0.1667,0.3333",
        "finetune.epochs=1,2", "finetune.warmup_steps=0", "teacher.warmup_steps=0", "pipeline.outputs=[heal]",
    )  # fmt: skip
    at_once = [0]

    def over() -> bool:
        at_once.append(Counter(slurm.jobs().values())["RUNNING"])
        return sweep.poll() is not None

    until(over, "the sweep's end", 60 * MINUTES)
    assert "4 of 4 jobs finished" in ended(sweep)
    assert max(at_once) == 2
    made = [stage["identity"] for job in range(4) for stage in result(home, job)["stages"] if not stage["cached"]]
    assert len(made) == len(set(made))
    heals = {stage["identity"] for job in range(4) for stage in result(home, job)["stages"] if stage["name"] == "heal"}
    assert len(heals) == 4
    assert heals <= set(made)


def test_failed_job_stops_no_other(submit: Callable[..., subprocess.Popen[str]], home: Path) -> None:
    sweep = submit(f"data.path={home}/bad,{home}/good", "pipeline.outputs=[train]")
    stdout, stderr = sweep.communicate(timeout=60 * MINUTES)
    assert sweep.returncode == 1, stdout + stderr
    assert states(home) == {"0": "failed", "1": "finished"}
    assert "train.wav is missing" in stdout


def requeue(slurm: Slurm, job: str) -> None:
    slurm.ask("scontrol", "requeue", job)


def preempt(slurm: Slurm, job: str) -> None:
    slurm.ask("sbatch", "--partition=urgent", "--gpus-per-node=2", "--output=/dev/null", "--wrap=sleep 2")


def leave_to_its_time_limit(slurm: Slurm, job: str) -> None:
    pass


INTERRUPTIONS = {
    "put back by hand": (requeue, []),
    "preempted": (preempt, []),
    "preempted with a time to stop": (preempt, ["hydra.launcher.partition=gentle"]),
    "out of time": (leave_to_its_time_limit, ["hydra.launcher.timeout_min=2", "hydra.launcher.signal_delay_s=30"]),
}


@pytest.mark.parametrize("interruption", INTERRUPTIONS)
def test_interrupted_job_begins_again_and_goes_on(
    interruption: str, submit: Callable[..., subprocess.Popen[str]], slurm: Slurm, home: Path, slow_dev: Held
) -> None:
    interrupt, arguments = INTERRUPTIONS[interruption]
    others = {path.name for path in (home / "store" / ".building").iterdir()}
    database = f"sqlite:///{home}/mlflow.db"
    sweep = submit(
        f"data.path={home}/slow",
        "pipeline.outputs=[train,dev]",
        "tracking=sqlite",
        f"tracking.uri={database}",
        *arguments,
    )
    job = stuck(home, slurm)
    interrupt(slurm, job)
    until(lambda: states(home)["0"] == "queued", "the job's being queued again", 180)
    assert {path.name for path in (home / "store" / ".building").iterdir()} == others
    assert sweep.poll() is None
    slow_dev.release()
    stdout = ended(sweep)
    assert "1 of 1 jobs finished" in stdout
    assert {stage["name"]: stage["cached"] for stage in result(home)["stages"]} == {"train": True, "dev": False}
    with sqlite3.connect(home / "mlflow.db") as runs:
        ends = {status for (status,) in runs.execute("select status from runs")}
    assert ends == {"KILLED", "FINISHED"}


def test_training_that_was_interrupted_gives_what_an_undisturbed_one_gives(
    submit: Callable[..., subprocess.Popen[str]], slurm: Slurm, start: Start, tiny_model: Path, home: Path
) -> None:
    training = [
        f"data.path={home}/good", f"model.path={tiny_model}", "teacher.epochs=600", "teacher.warmup_steps=0",
        "pipeline.outputs=[teacher]",
    ]  # fmt: skip
    ended(start(*training, f"store.dir={home}/undisturbed", f"hydra.sweep.dir={home}/undisturbed_sweep"))
    sweep = submit(*training)

    def steps() -> int:
        journals = (home / "store" / ".building").glob("*/*/scratch/curves.jsonl")
        return sum(len(journal.read_text().splitlines()) for journal in journals)

    until(lambda: steps() > 1, "the training's first steps", 60)
    (job,) = slurm.jobs()
    requeue(slurm, job)
    until(lambda: states(home)["0"] == "queued", "the job's being queued again", 60)
    ended(sweep)
    (weights,) = (home / "store" / "model").glob("*/*.safetensors")
    undisturbed = home / "undisturbed" / weights.relative_to(home / "store")
    assert weights.read_bytes() == undisturbed.read_bytes()


def test_job_that_is_out_of_time_too_often_is_given_up(
    submit: Callable[..., subprocess.Popen[str]], slurm: Slurm, home: Path, slow_dev: Held
) -> None:
    """SLURM's signal before the time limit is sent by hand here; submitit takes so short a limit for reached."""
    limits = ["hydra.launcher.timeout_min=5", "hydra.launcher.max_num_timeout=0"]
    sweep = submit(f"data.path={home}/slow", "pipeline.outputs=[train,dev]", *limits)
    slurm.ask("scancel", "--signal=USR2", stuck(home, slurm))
    stdout, _ = sweep.communicate(timeout=60 * MINUTES)
    assert sweep.returncode == 1
    assert states(home) == {"0": "killed"}
    assert "max_num_timeout" in stdout


def test_cancelled_job_is_over_and_stops_no_other(
    submit: Callable[..., subprocess.Popen[str]], slurm: Slurm, home: Path, slow_dev: Held
) -> None:
    sweep = submit(f"data.path={home}/slow,{home}/good", "pipeline.outputs=[train,dev]")
    until(lambda: states(home) == {"0": "running", "1": "finished"}, "one job stuck, one finished", 60)
    slurm.ask("scancel", *slurm.jobs())
    sweep.communicate(timeout=60 * MINUTES)
    assert sweep.returncode == 1
    assert states(home) == {"0": "killed", "1": "finished"}


def test_signal_to_the_sweep_takes_its_jobs_out_of_slurm(
    submit: Callable[..., subprocess.Popen[str]], slurm: Slurm, home: Path, slow_dev: Held
) -> None:
    sweep = submit(f"data.path={home}/slow", "pipeline.outputs=[train,dev]", "seed=1,2,3")
    until(lambda: Counter(slurm.jobs().values()) == {"RUNNING": 2, "PENDING": 1}, "three jobs", 60)
    until(lambda: list(states(home).values()) == ["running"] * 2, "two that have begun", 60)
    sweep.send_signal(signal.SIGINT)
    stdout, _ = sweep.communicate(timeout=60 * MINUTES)
    assert sweep.returncode == 128 + signal.SIGINT
    assert "0 of 3 jobs finished" in stdout
    until(lambda: not slurm.jobs(), "an empty queue", 60)
    assert set(states(home).values()) == {"killed"}


def test_sweep_knows_which_of_its_jobs_slurm_still_has(
    slurm: Slurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in slurm.environment.items():
        monkeypatch.setenv(name, value)
    assert not has_queued_jobs(tmp_path)
    ours, theirs = (slurm.ask("sbatch", "--parsable", "--output=/dev/null", "--wrap=sleep 60") for _ in range(2))
    (tmp_path / ".submitit" / ours).mkdir(parents=True)
    assert has_queued_jobs(tmp_path)
    cancel_jobs(tmp_path)
    until(lambda: not has_queued_jobs(tmp_path), "its end", 60)
    assert list(slurm.jobs()) == [theirs]
    slurm.empty()
