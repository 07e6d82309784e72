"""Nodes as a config wires them, for what looks at graphs."""

from __future__ import annotations

from collections.abc import Mapping

from stc.errors import ConfigError
from stc.pipeline.from_config import Entry, build_nodes
from stc.pipeline.graph import Node


def nodes(entries: Mapping[str, Entry]) -> dict[str, Node]:
    """Return the stages of a config as nodes, by name.

    Args:
        entries: name → entry, resolved: plain values.

    Raises:
        ConfigError: with every fault of every entry.
    """
    found, faults = build_nodes(entries)
    if faults:
        raise ConfigError(faults)
    return found
