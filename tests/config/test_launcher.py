"""What a sweep is launched by: settings are checked before Hydra sees them, and what ships is whole."""

from __future__ import annotations

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.plugins import Plugins

from stc.config import launcher as launchers
from stc.config.override_checks import check_arguments, require_launcher
from stc.errors import ConfigError
from stc.system.paths import CONF, ROOT

SLURM = ["-m", "hydra/launcher=slurm"]
JOBLIB = ["-m", "hydra/launcher=joblib"]


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without SLURM that has three GPUs, as far as is asked here."""
    monkeypatch.setenv("STC_ROOT", str(ROOT))
    monkeypatch.setattr(launchers.shutil, "which", lambda name: None)
    monkeypatch.setattr(launchers, "visible_gpus", lambda: ["0", "1", "2"])


def faults(*arguments: str, starting: bool = False) -> list[str]:
    try:
        passed = check_arguments(list(arguments))
        if starting:
            require_launcher(passed)
    except ConfigError as error:
        return [str(fault) for fault in error.faults]
    return []


@pytest.mark.parametrize("member", [file.stem for file in (CONF / "hydra" / "launcher").glob("*.yaml")])
def test_every_launcher_that_ships_is_one_that_hydra_can_make(member: str) -> None:
    with initialize_config_dir(str(CONF), version_base=None):
        config = compose("config", [f"hydra/launcher={member}", "hydra.job.name=run"], return_hydra_config=True).hydra
    plugins = Plugins.instance()
    launcher = plugins._instantiate(config.launcher)
    assert launcher.params["additional_parameters"] == {"requeue": True}
    assert launcher.params["max_num_timeout"] > 0
    assert launcher.params["gpus_per_node"] == 1


def test_settings_of_a_launcher_pass_as_they_are() -> None:
    arguments = [*SLURM, "hydra.launcher.partition=gpu", "+hydra.launcher.additional_parameters.qos=high"]
    assert check_arguments(arguments) == arguments


def test_every_misspelled_setting_is_told_with_the_nearest() -> None:
    partition, timeout = faults(*SLURM, "hydra.launcher.partitoin=gpu", "hydra.launcher.timeout=60")
    assert partition.startswith("hydra.launcher.partitoin=gpu: no such key")
    assert partition.endswith("(did you mean 'partition'?)")
    assert timeout.endswith("(did you mean 'timeout_min'?)")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["-m", "hydra/launcher=slurn"], "(did you mean 'slurm'?)"),
        (["-m", "hydra/launchr=slurm"], "(did you mean 'hydra/launcher'?)"),
        ([*SLURM, "hydra.launcher.timeout_min=long"], "hydra.launcher.timeout_min=long: Value 'long' of type 'str'"),
        ([*SLURM, "hydra.launcher.additional_parameters.qos=high"], "+hydra.launcher.additional_parameters.qos adds"),
        (["hydra/launcher=slurm"], "-m makes a sweep"),
        (["hydra.launcher.partition=gpu"], "-m makes a sweep"),
    ],
)
def test_what_hydra_would_not_take_is_one_fault(arguments: list[str], told: str) -> None:
    (fault,) = faults(*arguments)
    assert told in fault


@pytest.mark.parametrize("launcher", [SLURM, JOBLIB])
def test_launcher_that_is_not_installed_is_told_with_the_command(
    launcher: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launchers, "is_installed", lambda package: False)
    (fault,) = faults(*launcher)
    assert "pip install hydra-" in fault


def test_machine_without_slurm_is_told_when_the_sweep_starts_and_not_before(monkeypatch: pytest.MonkeyPatch) -> None:
    assert faults(*SLURM) == []
    (fault,) = faults(*SLURM, starting=True)
    assert "sbatch" in fault
    monkeypatch.setattr(launchers.shutil, "which", lambda name: f"/usr/bin/{name}")
    assert faults(*SLURM, starting=True) == []


def test_as_many_jobs_run_side_by_side_as_there_are_gpus() -> None:
    assert check_arguments([*JOBLIB, "lang=de,zh"]) == [*JOBLIB, "lang=de,zh", "hydra.launcher.n_jobs=3"]
    assert (
        check_arguments([*JOBLIB, "resources.processes=2"])[-1] == "hydra.launcher.n_jobs=1"
    )  # for each, two of the GPUs
    assert check_arguments([*JOBLIB, "hydra.launcher.n_jobs=5"]) == [*JOBLIB, "hydra.launcher.n_jobs=5"]


def test_without_gpus_the_number_of_jobs_has_to_be_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launchers, "visible_gpus", list)
    assert check_arguments(JOBLIB) == JOBLIB
    (fault,) = faults(*JOBLIB, starting=True)
    assert "hydra.launcher.n_jobs=2" in fault
    assert not faults(*JOBLIB, "hydra.launcher.n_jobs=2", starting=True)
