"""A launcher for tests, of the kind that loses everything with one worker: jobs in a pool of two processes.

Hydra finds launchers in the package ``hydra_plugins`` only; a test puts the folder above on PYTHONPATH.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import cloudpickle
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from omegaconf import open_dict

# Workers of their own, which start with what they import.
_FORKED = multiprocessing.get_context("forkserver")
_FORKED.set_forkserver_preload([__name__, "hydra.main", "stc.config.schema", "stc.jobs.sweep", "stc.jobs.job"])

ConfigStore.instance().store(group="hydra/launcher", name="pool", node={"_target_": f"{__name__}.PoolLauncher"})


class PoolLauncher(Launcher):
    def setup(self, *, hydra_context: Any, task_function: Any, config: Any) -> None:
        self.context, self.task, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        with ProcessPoolExecutor(2, mp_context=_FORKED) as pool:
            jobs = [
                pool.submit(
                    _job, cloudpickle.dumps((self, Singleton.get_state(), list(overrides), initial_job_idx + number))
                )
                for number, overrides in enumerate(job_overrides)
            ]
            return [job.result() for job in jobs]


def _job(pickled: bytes) -> JobReturn:
    launcher, state, overrides, number = cloudpickle.loads(pickled)
    setup_globals()
    Singleton.set_state(state)
    config = launcher.context.config_loader.load_sweep_config(launcher.config, overrides)
    with open_dict(config):
        config.hydra.job.num = number
    HydraConfig.instance().set_config(config)
    done = run_job(
        hydra_context=launcher.context,
        config=config,
        task_function=launcher.task,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
    )
    done.cfg = done.hydra_cfg = None  # they do not pickle
    return done
