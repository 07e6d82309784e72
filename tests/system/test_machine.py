"""The fingerprint of a machine and the choice of a device, without torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from stc.errors import InputError
from stc.system.machine import (
    fingerprint,
    git_commit,
    network_filesystem,
    refuse_shared_database,
    resolve_device,
    versions,
)


def test_fingerprint_is_the_same_twice() -> None:
    assert fingerprint() == fingerprint()


def test_thread_count_asked_for_changes_the_fingerprint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    one = fingerprint()
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert fingerprint() != one


def test_versions_name_what_results_depend_on() -> None:
    assert {"stc", "python", "torch", "transformers", "bitsandbytes", "peft"} == versions().keys()


def test_hidden_gpus_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert resolve_device("auto") == "cpu"
    with pytest.raises(InputError, match="device=cuda: CUDA_VISIBLE_DEVICES hides"):
        resolve_device("cuda")


def test_machine_is_described_without_torch() -> None:
    code = (
        "import sys; from stc.system.machine import *; fingerprint(); resolve_device('auto');"
        "print('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_commit_is_the_checkouts() -> None:
    found = git_commit()
    here = Path(__file__).parents[2]
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=False)
    if found is None:
        pytest.skip("stc does not run from a git checkout that holds this file")
    assert found[0] == head.stdout.strip()


@pytest.fixture
def mounts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of mounts as psutil gives it: a shared file system cannot be mounted in a test."""
    table = {"/": "9p", "/home": "nfs4", "/home/me/disk": "ext4", "/lustre": "lustre", "/far": "fuse.sshfs"}
    found = [SimpleNamespace(mountpoint=folder, fstype=fstype) for folder, fstype in table.items()]
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: found)


@pytest.mark.usefixtures("mounts")
@pytest.mark.parametrize(
    ("path", "shared"),
    [
        ("/home/me/mlflow.db", "nfs4"),
        ("/home/me/disk/mlflow.db", None),
        ("/lustre/not/there/yet/mlflow.db", "lustre"),
        ("/far/mlflow.db", "fuse.sshfs"),
        ("/homes/mlflow.db", None),
    ],
)
def test_file_system_is_that_of_the_nearest_mount(path: str, shared: str | None) -> None:
    assert network_filesystem(Path(path)) == shared


def test_disk_of_this_machine_is_not_shared(tmp_path: Path) -> None:
    assert network_filesystem(tmp_path / "mlflow.db") is None


@pytest.mark.usefixtures("mounts")
def test_database_on_a_shared_file_system_is_refused_with_what_to_do() -> None:
    with pytest.raises(InputError, match=r"tracking\.uri=x: .*/home/me is on .*nfs4.*http://HOST.*tracking=none"):
        refuse_shared_database(Path("/home/me/mlflow.db"), "tracking.uri=x")
