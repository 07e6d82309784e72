"""The shape of result.json, which a run leaves in its folder, as far as it is read again."""

from __future__ import annotations

from typing import NotRequired

from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict

RESULT_FILE = "result.json"


@with_config(ConfigDict(extra="allow"))
class ResultSystem(TypedDict):
    """A row of the table of a run, or of runs with several seeds."""

    name: str
    bytes_on_disk: NotRequired[float]
    retention: NotRequired[float | None]
    model_dir: NotRequired[str]
    hypotheses: NotRequired[str]


class ResultStage(TypedDict):
    name: str
    identity: str


class ResultOfSeed(TypedDict):
    """One of the runs with several seeds, and the path of its own result.json."""

    seed: int
    result: str


@with_config(ConfigDict(extra="allow"))
class Result(TypedDict):
    """The content of result.json: with several seeds it has ``runs`` and ``seeds``, with one it has ``stages``."""

    systems: list[ResultSystem]
    stages: NotRequired[list[ResultStage]]
    seeds: NotRequired[list[int]]
    runs: NotRequired[list[ResultOfSeed]]
