"""The whole job on a tiny real model, as a user starts it: from the command line, in processes of their own."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from processes import Command, stages_begun, until

RATE = 16_000
SPLITS = {"train": 6, "dev": 2, "selection": 3, "test": 4}
PLOTS = ["importance.png", "training.png", "quality.png"]
SYSTEM_KEYS = {
    "name", "layers", "params", "packed_elements", "bytes_on_disk", "bleu", "chrf", "chrf_pp", "retention",
    "retention_ci", "rtf", "peak_memory_bytes", "model_dir", "hypotheses",
}  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four splits of short tones."""
    folder = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(1)
    for split, count in SPLITS.items():
        lines = []
        for number in range(count):
            sound = 0.2 * random.standard_normal(int(RATE * random.uniform(0.4, 1.2)))
            soundfile.write(folder / f"{split}{number}.wav", sound, RATE)
            lines.append(
                {"audio": f"{split}{number}.wav", "en": f"{split} {number}", "de": f"Ein Satz, {split} {number}."}
            )
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def settings(model: Path, data: Path, home: Path, *more: str) -> list[str]:
    """Of the four systems two are witnessed, a plain one and a packed one: each takes a process that imports torch."""
    return [
        "lang=de", f"model.path={model}", "model.max_new_tokens=6",
        f"data.path={data}", "data.columns={audio: audio, source: en, target: de}", "prune.ratio=0.3333",
        "finetune.warmup_steps=0", "teacher.warmup_steps=0", "finetune.epochs=2", "finetune.batch_size=4",
        "teacher.batch_size=4", "metrics.timed_utterances=2", f"store.dir={home}/store", f"tracking.uri=sqlite:///{home}/mlflow.db",
        "stages.evaluate_teacher_quantized.witnessed=0", "stages.evaluate_unpruned.witnessed=0",
        f"hydra.run.dir={home}/out", *more,
    ]  # fmt: skip


def finished(arguments: list[str]) -> Command:
    """A run that has ended well."""
    run = Command("stc.run", *arguments)
    assert run.wait() == 0, run.stderr
    return run


@pytest.fixture(scope="module")
def undisturbed(tiny_model: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("undisturbed")
    command = [sys.executable, "-m", "stc.run", *settings(tiny_model, data, home)]
    done = subprocess.run(command, cwd=home, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (home / "stdout").write_text(done.stdout)
    return home


def result(home: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((home / "out" / "result.json").read_text())
    return content


def test_a_run_ends_with_the_table_of_the_four_systems(undisturbed: Path) -> None:
    content = result(undisturbed)
    systems = content["systems"]
    assert [system["layers"] for system in systems] == [6, 6, 6, 4]
    assert all(system.keys() >= SYSTEM_KEYS for system in systems)
    assert content["lang"] == "de"
    assert content["prune_ratio"] == 0.3333
    assert len(content["layers_removed"]) == 2
    assert all({"name", "identity", "cached", "seconds"} == stage.keys() for stage in content["stages"])
    assert systems[-1]["bytes_on_disk"] < systems[1]["bytes_on_disk"] < systems[0]["bytes_on_disk"]
    assert all(Path(system["model_dir"], "config.json").is_file() for system in systems)
    lines = [Path(system["hypotheses"]).read_text().removesuffix("\n").split("\n") for system in systems]
    assert {len(one) for one in lines} == {SPLITS["test"]}
    table = (undisturbed / "stdout").read_text()
    assert all(system["name"] in table for system in systems)


def test_the_commands_that_a_run_ends_with_work_as_they_are_printed(undisturbed: Path) -> None:
    said = [shlex.split(line) for line in (undisturbed / "stdout").read_text().splitlines() if " -m stc." in line]
    assert [line[:3] for line in said] == [[sys.executable, "-m", f"stc.{name}"] for name in ("translate", "export")]
    for _, _, program, *arguments in said:
        done = Command(program, *arguments, folder=undisturbed)
        assert done.wait() == 0, done.stderr
    assert (undisturbed / "exported" / "pruned-healed-nf4" / "model.safetensors").is_file()


def test_a_run_is_finished_in_mlflow_with_its_parameters_and_translations(undisturbed: Path) -> None:
    run = result(undisturbed)["mlflow_run_id"]
    with sqlite3.connect(undisturbed / "mlflow.db") as database:
        (status, artifacts), *_ = database.execute("select status, artifact_uri from runs where run_uuid = ?", (run,))
        parameters = dict(database.execute("select key, value from params where run_uuid = ?", (run,)).fetchall())
        metrics = {key for (key,) in database.execute("select key from metrics where run_uuid = ?", (run,))}
        tags = dict(database.execute("select key, value from tags where run_uuid = ?", (run,)).fetchall())
    assert status == "FINISHED"
    assert "pruned-healed-nf4" in tags["mlflow.note.content"]
    assert parameters["prune.ratio"] == "0.3333"
    assert {"lang", "data.test_utterances", "distill", "finetune.epochs", "removed.decoder"} <= parameters.keys()
    assert min(metrics) == "compressed/retention_percent"  # MLflow's charts are in this order
    assert {"compressed/size_mb", "training/teacher/loss", "search/importance/chrf_pp_by_layers_removed"} <= metrics
    assert not [tag for tag in tags if tag.startswith("stage")]
    kept = {file.name for file in Path(artifacts.removeprefix("file://")).rglob("*")}
    assert {"config.yaml", "translations.json", "result.json", "stages.json", "versions.json", *PLOTS} <= kept


def test_translations_in_mlflow_have_what_was_said_and_each_systems_score(undisturbed: Path) -> None:
    content = result(undisturbed)
    with sqlite3.connect(undisturbed / "mlflow.db") as database:
        query = "select artifact_uri from runs where run_uuid = ?"
        ((artifacts,),) = database.execute(query, (content["mlflow_run_id"],))
    table = json.loads((Path(artifacts.removeprefix("file://")) / "translations.json").read_text())
    systems = [system["name"] for system in content["systems"]]
    scored = [column for name in systems for column in (name, f"{name} chrf")]
    assert table["columns"] == ["id", "English", "reference", *scored]
    assert [row[:3] for row in table["data"]] == [
        [f"test-{number + 1:06d}", f"test {number}", f"Ein Satz, test {number}."] for number in range(SPLITS["test"])
    ]


def curves(home: Path, run: str) -> set[tuple[str, int, float]]:
    with sqlite3.connect(home / "mlflow.db") as database:
        query = "select key, step, value from metrics where run_uuid = ? and (key like 'training/%' or key like 's%')"
        return set(database.execute(query, (run,)))


@pytest.fixture(scope="module")
def again(undisturbed: Path, tiny_model: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of a second run with the store and the MLflow of the first."""
    home = tmp_path_factory.mktemp("again")
    arguments = settings(tiny_model, data, undisturbed, f"hydra.run.dir={home}/out")
    watched = (
        "import sys, stc.run; code = stc.run.main(); print('torch' in sys.modules, file=sys.stderr); sys.exit(code)"
    )
    command = [sys.executable, "-c", watched, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (home / "torch").write_text(done.stderr.strip().splitlines()[-1])
    return home


def test_a_second_run_takes_everything_from_the_store_without_torch(again: Path) -> None:
    assert (again / "torch").read_text() == "False"
    assert all(stage["cached"] for stage in result(again)["stages"])
    assert result(again)["plots"] == [f"plots/{name}" for name in PLOTS]
    assert all((again / "out" / plot).is_file() for plot in result(again)["plots"])


def test_curves_of_stages_from_the_store_are_whole_in_mlflow(undisturbed: Path, again: Path) -> None:
    drawn = curves(undisturbed, result(again)["mlflow_run_id"])
    assert {step for key, step, _ in drawn if key == "search/importance/chrf_pp_by_layers_removed"} == {1, 2}
    assert drawn == curves(undisturbed, result(undisturbed)["mlflow_run_id"])


def test_seeds_give_a_run_each_and_their_mean_and_share_what_is_the_same(
    undisturbed: Path, tiny_model: Path, data: Path, tmp_path: Path
) -> None:
    """The recipes keep their seed, so that comparing alone is left to do: trainings would take a minute."""
    fixed = ("seeds=[0,1]", "teacher.seed=0", "finetune.seed=0", f"hydra.run.dir={tmp_path}/out")
    run = finished(settings(tiny_model, data, undisturbed, *fixed))
    content = result(tmp_path)
    each = [json.loads((tmp_path / "out" / run["result"]).read_text()) for run in content["runs"]]
    made = [[stage["name"] for stage in one["stages"] if not stage["cached"]] for one in each]
    assert made == [[], ["compare"]]  # the run of the other tests has seed 0
    compared = {stage["identity"] for one in each for stage in one["stages"] if stage["name"] == "compare"}
    assert len(compared) == 2
    for place, system in enumerate(content["systems"]):
        scores = [one["systems"][place]["chrf_pp"] for one in each]
        assert system["name"] == each[0]["systems"][place]["name"]
        assert system["chrf_pp"] == pytest.approx(sum(scores) / 2)
        assert system["chrf_pp_deviation"] == pytest.approx(0)
    assert "over 2 seeds (0, 1)" in run.stdout
    with sqlite3.connect(undisturbed / "mlflow.db") as database:
        parents = database.execute("select run_uuid, value from tags where key = 'mlflow.parentRunId'").fetchall()
        (status,), *_ = database.execute("select status from runs where run_uuid = ?", (content["mlflow_run_id"],))
    assert set(parents) == {(run["mlflow_run_id"], content["mlflow_run_id"]) for run in content["runs"]}
    assert status == "FINISHED"


def die_after_the_first_step() -> None:
    """Have the run die within a training, at once after its first checkpoint, which is due before the second step."""
    import stc.training.loop
    from stc.training import checkpoints

    class Deadly(checkpoints.Checkpoints):
        def before_step(self, steps: int) -> None:
            super().before_step(steps)
            if steps > 0:
                os.kill(os.getpid(), signal.SIGKILL)

    stc.training.loop.Checkpoints = Deadly  # type: ignore[misc]
    checkpoints.LEAST_SECONDS, checkpoints.SHARE = 0.0, 1e9


def test_a_run_killed_at_any_stage_or_in_a_training_goes_on_and_ends_with_the_same_models_and_scores(
    undisturbed: Path, tiny_model: Path, data: Path, tmp_path: Path
) -> None:
    arguments = settings(
        tiny_model, data, tmp_path, "pipeline.outputs=[evaluate]", "metrics.witnessed=0", "tracking=none"
    )
    made: list[str] = []
    for victim, trains in (("teacher", True), ("importance.2", False), ("heal", True)):
        seen = die_in_training(arguments) if trains else kill_at(victim, arguments)
        assert not set(made) & set(seen), "a finished stage ran again"
        assert seen[-1] == victim
        made += seen[:-1]
    run = finished(arguments)
    assert not set(made) & set(stages_begun(run.stderr))
    assert "training goes on from the checkpoint of step 1 of" in run.stderr
    (scores,) = (json.loads(file.read_text()) for file in tmp_path.glob("store/scores/*/scores.json"))
    evaluated = next(stage["identity"] for stage in result(undisturbed)["stages"] if stage["name"] == "evaluate")
    assert scores == json.loads((undisturbed / "store" / "scores" / evaluated / "scores.json").read_text())
    for name in ("teacher", "heal"):
        assert model_and_curves(name, tmp_path) == model_and_curves(name, undisturbed)


def model_and_curves(stage: str, home: Path) -> tuple[bytes, dict[str, Any]]:
    """The weights a stage gave, and what it logged by step, less how fast it was."""
    records = {file.parent: json.loads(file.read_text()) for file in home.glob("store/model/*/stc.record.json")}
    folder = next(folder for folder, record in records.items() if record["name"] == stage)
    curves = {key: points for key, points in records[folder]["curves"].items() if key != "steps_per_second"}
    return (folder / "model.safetensors").read_bytes(), curves


def die_in_training(arguments: list[str]) -> list[str]:
    """Returns the stages the run began."""
    run = Command("stc.run", *arguments, first=die_after_the_first_step)
    assert run.wait() == -signal.SIGKILL, run.stderr
    return stages_begun(run.stderr)


def kill_at(stage: str, arguments: list[str]) -> list[str]:
    """Kill the run as soon as it says it begins ``stage``; returns the stages it began."""
    run = Command("stc.run", *arguments)
    until(lambda: stage in stages_begun(run.stderr), stage, 300)
    run.send(signal.SIGKILL)
    run.wait()
    return stages_begun(run.stderr)


def test_a_sweep_over_ways_of_pruning_shares_the_teacher_and_what_it_translated(
    undisturbed: Path, tiny_model: Path, data: Path, tmp_path: Path
) -> None:
    sweep = "prune=block_influence,angular,middle,random"
    arguments = settings(
        tiny_model, data, undisturbed, sweep, "pipeline.outputs=[heal]", "tracking=none",
        f"hydra.sweep.dir={tmp_path}", "-m",
    )  # fmt: skip
    began = stages_begun(finished(arguments).stderr)
    assert set(began) <= {"similarity", "importance", "prune", "heal"}
    assert (began.count("similarity"), began.count("importance")) == (1, 4)
    removed = {tuple(sorted(result(undisturbed)["layers_removed"]))}
    for number, method in enumerate(sweep.partition("=")[2].split(",")):
        content = json.loads((tmp_path / str(number) / "result.json").read_text())
        assert (content["prune_method"], len(content["layers_removed"])) == (method, 2)
        removed.add(tuple(sorted(content["layers_removed"])))
    assert began.count("prune") == began.count("heal") == len(removed) - 1  # equal sets of layers are healed once


def test_rounds_with_training_in_between_go_on_from_the_first_round_without(
    undisturbed: Path, tiny_model: Path, data: Path, tmp_path: Path
) -> None:
    arguments = settings(
        tiny_model, data, undisturbed, "prune=interleaved", "prune.between.warmup_steps=0", "pipeline.outputs=[heal]",
        "tracking=none", f"hydra.run.dir={tmp_path}/out",
    )  # fmt: skip
    assert stages_begun(finished(arguments).stderr)[:3] == ["prune.1", "between.1", "importance.2"]
    content = result(tmp_path)
    assert content["layers_removed"][0] == result(undisturbed)["layers_removed"][0]
    heal = next(stage["identity"] for stage in content["stages"] if stage["name"] == "heal")
    config = json.loads((undisturbed / "store" / "model" / heal / "config.json").read_text())
    assert config["text_config"]["num_hidden_layers"] == 4


def test_a_stopped_run_is_marked_killed(tiny_model: Path, data: Path, tmp_path: Path) -> None:
    run = Command("stc.run", *settings(tiny_model, data, tmp_path))
    until(lambda: "teacher" in stages_begun(run.stderr), "the teacher", 300)
    os.kill(run.pid, signal.SIGTERM)
    assert run.wait() == 128 + signal.SIGTERM
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        assert database.execute("select status from runs").fetchall() == [("KILLED",)]
    assert not list((tmp_path / "store").glob("model/*"))


def test_splits_that_share_an_utterance_stop_the_run_before_training(
    tiny_model: Path, data: Path, tmp_path: Path
) -> None:
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    for file in data.iterdir():
        (mixed / file.name).write_bytes(file.read_bytes())
    lines = (mixed / "test.jsonl").read_text()
    (mixed / "test.jsonl").write_text(lines + (mixed / "train.jsonl").read_text().splitlines()[2] + "\n")
    run = Command("stc.run", *settings(tiny_model, mixed, tmp_path, "tracking=none"))
    assert run.wait() == 1
    assert "1 of 'test' in 'train'" in run.stderr
    assert "Traceback" not in run.stderr
    assert "teacher" not in stages_begun(run.stderr)
