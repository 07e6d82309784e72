"""Stages by name."""

from __future__ import annotations

from stc.pipeline.stage import Stage
from stc.system.extensions import by_name, names


def stage_names() -> list[str]:
    """Return the names of stc's own stages."""
    return names("stc.stages")


def stage_class(name: str) -> type[Stage]:
    """Return the stage that a config names; raises as :func:`stc.system.extensions.by_name`."""
    return by_name("stc.stages", name, Stage, "stage")
