"""The view of the runs that MLflow opens: a tag of the experiment."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path

import pytest
from mlflow import MlflowClient

from stc.jobs.mlflow_content import main_figures
from stc.tracking import Tracking, prepare_experiment, track
from stc.tracking import __main__ as ui
from stc.tracking.view import experiment_tags

SYSTEM = {
    "retention": 0.9,
    "retention_ci": (0.8, 1.0),
    "bytes_on_disk": 5_000_000,
    "params": 9_000_000,
    "rtf": 0.1,
    "metrics": ["chrf"],
    "chrf": 50.0,
}


@pytest.fixture
def tracking(migrated: Path, tmp_path: Path) -> Tracking:
    shutil.copyfile(migrated, tmp_path / "mlflow.db")
    return Tracking(uri=f"sqlite:///{tmp_path / 'mlflow.db'}")


def tags(tracking: Tracking, experiment: str) -> dict[str, str]:
    return dict(MlflowClient(tracking.uri).get_experiment(experiment).tags)


def view(found: dict[str, str]) -> dict[str, object]:
    (text,) = (value for key, value in found.items() if key.startswith("mlflow.sharedViewState."))
    state: dict[str, object] = json.loads(text)
    return state


def test_new_experiment_is_for_model_training_and_has_the_view(tracking: Tracking) -> None:
    _, experiment = prepare_experiment(tracking)
    found = tags(tracking, experiment)
    assert found["mlflow.experimentKind"] == "custom_model_development"
    assert view(found)["orderByKey"] == "metrics.`compressed/retention_percent`"


def test_experiment_from_before_gets_the_view_with_its_next_run(tracking: Tracking, tmp_path: Path) -> None:
    experiment = MlflowClient(tracking.uri).create_experiment("stc", tmp_path.as_uri(), {"of": "mine"})
    with track(tracking, run_name="next", config={}):
        pass
    assert tags(tracking, experiment) == {"of": "mine", **experiment_tags()}


def test_every_figure_that_the_view_shows_is_one_that_jobs_log() -> None:
    columns = view(experiment_tags())["selectedColumns"]
    assert isinstance(columns, list)
    shown = {name.removeprefix("metrics.").strip("`") for name in columns if name.startswith("metrics.")}
    assert shown
    assert shown <= main_figures(SYSTEM).keys()


def test_figures_are_in_percent_and_megabytes_and_retention_is_first() -> None:
    figures = main_figures(SYSTEM)
    assert (figures["compressed/retention_percent"], figures["compressed/size_mb"]) == (90.0, 5.0)
    assert figures["compressed/retention_percent_low"] == 80.0
    assert min(figures) == "compressed/retention_percent"


def test_port_that_is_taken_is_an_error_with_what_to_do(tracking: Tracking, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert ui.main([f"--port={port}", f"--uri={tracking.uri}"]) == 1
    assert f"--port={port}" in capsys.readouterr().err
