"""A SLURM of one machine, for tests: the daemons of the distribution's packages, in a folder, as the present user."""

from __future__ import annotations

import getpass
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")

# It needs nothing of a real cluster: no cgroups, which a container may not have, no accounting, and no more cores than
# there are. Two files stand for GPUs: SLURM counts them, and gives one to each job that asks. What is urgent takes the
# place of what runs in the other partitions, in `gentle` after a time in which to stop. A job that is queued again may
# start after cred_expire seconds.
_CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser={user}
SlurmdUser={user}
AuthInfo=socket={folder}/munge.sock,cred_expire=6
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=2,bf_interval=2
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=8 RealMemory=65536 Gres=gpu:2
PartitionName=normal Nodes={host} Default=YES PriorityTier=1
PartitionName=gentle Nodes={host} PriorityTier=1 GraceTime=60
PartitionName=urgent Nodes={host} PriorityTier=2 PreemptMode=off
"""


class Slurm:
    """It runs in ``folder``; ``environment`` is what its commands are started with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "SUBMITIT"))},
            "SLURM_CONF": str(folder / "slurm.conf"),
        }
        self._daemons: list[subprocess.Popen[bytes]] = []

    def ask(self, *command: str) -> str:
        """What one of SLURM's commands answers."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
        return done.stdout.strip()

    def jobs(self) -> dict[str, str]:
        """The state of every job that waits or runs, by its id."""
        lines = self.ask("squeue", "--noheader", "--array", "--format=%i %T").splitlines()
        return dict(line.split() for line in lines)

    def start(self) -> None:
        for name in ("state", "spool"):
            (self.folder / name).mkdir()
        key = self.folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(128))
        (self.folder / "gres.conf").write_text("Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n")
        # Without this slurmd looks for the machine's cgroups, although none of its parts that are used here needs one.
        (self.folder / "cgroup.conf").write_text(f"CgroupPlugin=cgroup/v1\nCgroupMountpoint={self.folder}\n")
        host = socket.gethostname().split(".")[0]
        conf = _CONF.format(host=host, user=getpass.getuser(), folder=self.folder, ports=_free_ports(2))
        (self.folder / "slurm.conf").write_text(conf)
        files = {"socket": "munge.sock", "key-file": key.name, "pid-file": "munge.pid", "seed-file": "munge.seed"}
        self._daemon("munged", "--foreground", "--force", *(f"--{key}={self.folder}/{f}" for key, f in files.items()))
        until((self.folder / "munge.sock").exists, "munged")
        self._daemon("slurmctld", "-D", "-c")
        self._daemon("slurmd", "-D")
        try:
            until(lambda: "idle" in self._nodes(), "a node that is idle", 60)
        except AssertionError as error:
            logs = [f"{log.name}:\n{log.read_text()[-2000:]}" for log in self.folder.glob("*.log")]
            raise AssertionError("\n".join([str(error), *logs])) from None

    def empty(self) -> None:
        """End every job."""
        self.ask("scancel", "--quiet", f"--user={getpass.getuser()}")
        until(lambda: not self.jobs(), "an empty queue", 60)

    def stop(self) -> None:
        """End every daemon; whatever else belongs to this SLURM is killed."""
        for daemon in reversed(self._daemons):
            daemon.terminate()
        for daemon in self._daemons:
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        for process in psutil.process_iter():
            try:
                mine = process.environ().get("SLURM_CONF") == self.environment["SLURM_CONF"]
            except psutil.Error:
                continue
            if mine and process.pid != os.getpid():
                process.kill()

    def _daemon(self, name: str, *arguments: str) -> None:
        command = [_found(name) or name, *arguments]
        with (self.folder / f"{name}.log").open("wb") as log:
            self._daemons.append(subprocess.Popen(command, env=self.environment, stdout=log, stderr=log))

    def _nodes(self) -> str:
        command = ["sinfo", "--noheader", "--format=%T"]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False).stdout


def missing() -> list[str]:
    """The programs that are not installed."""
    return [name for name in PROGRAMS if _found(name) is None]


@contextmanager
def running(folder: Path) -> Iterator[Slurm]:
    slurm = Slurm(folder)
    try:
        slurm.start()
        yield slurm
    finally:
        slurm.stop()


def until(holds: Callable[[], object], what: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.1)


def _found(name: str) -> str | None:
    """Debian has the daemons where a user's PATH need not lead to."""
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
