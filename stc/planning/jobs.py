"""The jobs of a command, each with what it finds, shares with those before it, and has to make."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stc.models.hub import HubModel
from stc.pipeline.stage import Context
from stc.planning.disk import describe_artifact, hub_layout
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
        will_be: what it is or will be, as :meth:`stc.pipeline.stage.Stage.forecast` says; None where not known.
        inputs: the same of its inputs, those with labels left out.
        shared: what makes it before this job would have to: another job, or a step of this one.
    """

    step: DryRunStep
    will_be: Any
    inputs: Mapping[str, Any]
    shared: str = ""

    @property
    def runs(self) -> bool:
        return self.step.state is StepState.RUN and not self.shared


@dataclass(frozen=True)
class PlannedJob:
    """A job, or with several seeds one of them; ``name`` is its number, as its folder below multirun/ has it."""

    name: str
    title: str
    config: Config
    rows: Sequence[PlannedStep]


def plan_jobs(composed: Sequence[tuple[DictConfig, Plan]], titles: Sequence[str]) -> list[PlannedJob]:
    """Every job in turn, as it will find the store after those before it."""
    made: dict[str, tuple[str, str]] = {}
    known: Environments = {}
    foreseen: dict[str, Any] = {}
    jobs = []
    for name, title, plan in _with_each_seed(composed, titles):
        config = plan.config
        steps = DryRun(
            plan.pipeline, Store(config.store.dir), _context(config), force=config.force, known=known
        ).steps()
        jobs.append(PlannedJob(name, title, config, list(_rows(steps, name, made, foreseen))))
    return jobs


def _with_each_seed(
    composed: Sequence[tuple[DictConfig, Plan]], titles: Sequence[str]
) -> Iterator[tuple[str, str, Plan]]:
    from stc.config.plan import make_plan

    for number, ((config, planned), title) in enumerate(zip(composed, titles, strict=True)):
        if not planned.config.seeds:
            yield f"job {number}", title, planned
        for seed in planned.config.seeds:
            one = config.copy()
            one.seed, one.seeds = seed, []
            yield f"job {number} seed {seed}", title, make_plan(one)


def device_for(config: Config) -> str:
    """What a run computes on. Asked for by name, a GPU need not be there: a plan may be for another machine."""
    asked = config.resources.device
    return "cuda" if asked == "cuda" else resolve_device(asked, config.resources.processes)


def _context(config: Config) -> Callable[[str, Path], Context]:
    context = config.resources.context(device_for(config))
    return lambda name, scratch: context


def _rows(
    steps: Sequence[DryRunStep], job: str, made: dict[str, tuple[str, str]], foreseen: dict[str, Any]
) -> Iterator[PlannedStep]:
    """The steps of a job with what they will be, which is looked up once for all jobs that share a step."""
    here: dict[str, Any] = {}
    for step in steps:
        inputs = {key: here[target] for key, target in step.node.inputs.items() if isinstance(target, str)}
        if step.state is StepState.UNNEEDED:
            here[step.name] = None
            yield PlannedStep(step, None, inputs)
            continue
        if step.identity not in foreseen:
            foreseen[step.identity] = _foreseen(step, inputs)
        here[step.name] = foreseen[step.identity]
        shared = ""
        if step.state is StepState.RUN:
            earlier, name = made.setdefault(step.identity, (job, step.name))
            shared = earlier if earlier != job else name if name != step.name else ""
        yield PlannedStep(step, here[step.name], inputs, shared)


def _foreseen(step: DryRunStep, inputs: Mapping[str, Any]) -> Any:
    if step.artifact is not None:
        return describe_artifact(step.artifact)
    if step.node.stage is not None:
        return step.node.stage.forecast(inputs)
    assert isinstance(step.node.source, HubModel)
    return hub_layout(step.node.source)
