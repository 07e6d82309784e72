"""result.json: what a run leaves in its folder, as far as it is read again."""

from __future__ import annotations

from typing import NotRequired

from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict

RESULT_FILE = "result.json"


@with_config(ConfigDict(extra="allow"))
class ResultSystem(TypedDict):
    """A row of the table of a run, or of several with different seeds."""

    name: str
    bytes_on_disk: NotRequired[float]
    retention: NotRequired[float | None]
    model_dir: NotRequired[str]


class ResultStage(TypedDict):
    """A stage of a run."""

    name: str
    identity: str


class ResultOfSeed(TypedDict):
    """A run of several with different seeds: where its own result.json is."""

    seed: int
    result: str


@with_config(ConfigDict(extra="allow"))
class Result(TypedDict):
    """The shape of result.json, as far as it is read again: ``runs`` and ``seeds`` are in that of several seeds, and
    ``stages`` in that of one."""

    systems: list[ResultSystem]
    stages: NotRequired[list[ResultStage]]
    seeds: NotRequired[list[int]]
    runs: NotRequired[list[ResultOfSeed]]
