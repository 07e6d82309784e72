"""The jobs of a command, with what each finds, shares with earlier jobs, and has to make."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stc.planning.disk import bytes_on_disk, describe_artifact, forecast_node
from stc.planning.dry_run import DryRun, DryRunStep, Environments, StepState
from stc.store import Store
from stc.system.machine import resolve_device

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from stc.config.plan import Plan
    from stc.config.schema import Config


@dataclass(frozen=True)
class PlannedStep:
    """A step of a job.

    Attributes:
        forecast: what it is or will be, as :meth:`stc.pipeline.stage.Stage.forecast` returns; None if not known.
        inputs: the forecasts of its inputs, without those that have labels.
        shared: what makes it earlier: another job, or a step of this one.
    """

    step: DryRunStep
    forecast: Any
    inputs: Mapping[str, Any]
    shared: str = ""

    @property
    def runs(self) -> bool:
        return self.step.state is StepState.RUN and not self.shared


@dataclass(frozen=True)
class PlannedJob:
    """A job, or one seed of a job with several. ``name`` has the number of its folder in multirun/."""

    name: str
    title: str
    config: Config
    steps: Sequence[PlannedStep]

    @property
    def device(self) -> str:
        return device_for(self.config)


def plan_jobs(composed: Sequence[tuple[DictConfig, Plan]], titles: Sequence[str]) -> list[PlannedJob]:
    """Plan each job as it will find the store after the jobs before it."""
    made: dict[str, tuple[str, str]] = {}
    environments: Environments = {}
    forecasts: dict[str, Any] = {}
    jobs = []
    for name, title, plan in _with_each_seed(composed, titles):
        config = plan.config
        context = config.resources.context(device_for(config))
        dry_run = DryRun(plan.pipeline, Store(config.store.dir), context, force=config.force, environments=environments)
        steps = list(_plan_steps(dry_run.steps(), name, made, forecasts))
        jobs.append(PlannedJob(name, title, config, steps))
    return jobs


def bytes_to_write(jobs: Sequence[PlannedJob]) -> int:
    """Return the bytes of the models, adapters and features to be made."""
    return sum(bytes_on_disk(one.forecast) for job in jobs for one in job.steps if one.runs)


def device_for(config: Config) -> str:
    """Return the device of a run. A GPU asked for by name need not exist: a plan may be for another machine."""
    device = config.resources.device
    return "cuda" if device == "cuda" else resolve_device(device, config.resources.processes)


def _with_each_seed(
    composed: Sequence[tuple[DictConfig, Plan]], titles: Sequence[str]
) -> Iterator[tuple[str, str, Plan]]:
    from stc.config.plan import make_plan

    for number, ((config, plan), title) in enumerate(zip(composed, titles, strict=True)):
        if not plan.config.seeds:
            yield f"job {number}", title, plan
        for seed in plan.config.seeds:
            one = config.copy()
            one.seed, one.seeds = seed, []
            yield f"job {number} seed {seed}", title, make_plan(one)


def _plan_steps(
    steps: Sequence[DryRunStep], job: str, made: dict[str, tuple[str, str]], forecasts: dict[str, Any]
) -> Iterator[PlannedStep]:
    """Yield the steps of a job.

    Args:
        made: the job and step that make an identity first; this function adds to it.
        forecasts: the forecasts by identity, which jobs share; this function adds to it.
    """
    here: dict[str, Any] = {}
    for step in steps:
        inputs = {key: here[target] for key, target in step.node.inputs.items() if isinstance(target, str)}
        if step.state is StepState.UNNEEDED:
            here[step.name] = None
            yield PlannedStep(step, None, inputs)
            continue
        if step.identity not in forecasts:
            found = step.artifact
            forecasts[step.identity] = describe_artifact(found) if found else forecast_node(step.node, inputs)
        here[step.name] = forecasts[step.identity]
        shared = ""
        if step.state is StepState.RUN:
            first_job, name = made.setdefault(step.identity, (job, step.name))
            shared = first_job if first_job != job else name if name != step.name else ""
        yield PlannedStep(step, here[step.name], inputs, shared)
