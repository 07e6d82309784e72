"""The key at which a fault is reported: the one that the user can set, where a value is taken from another key."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from stc.errors import Fault

# ${key}, or ${oc.select:key,default}; where the default is null, the key to set is the one that has the interpolation.
_INTERPOLATION = re.compile(r"\$\{(?:oc\.select:)?([A-Za-z_][\w.]*)(?:,(?!null\b)\w+)?\}")

ABSENT: Any = object()
"""The value of a key that is not there."""


def at_source_keys(faults: Sequence[Fault], written: Any, faulty_groups: Collection[str]) -> list[Fault]:
    """Return the faults at the keys that the values are taken from. A fault of a value that is taken from another
    group, which is faulty, is left out, since it is reported there."""
    found = []
    for fault in faults:
        key = _source_key(fault.key, written)
        others = tuple((_source_key(other, written), value) for other, value in fault.others)
        group = key.partition(".")[0]
        if group == fault.key.partition(".")[0] or group not in faulty_groups:
            found.append(replace(fault, key=key, others=others))
    return found


def _source_key(key: str, written: Any) -> str:
    """Return the key that a value is taken from: by an interpolation that is the whole value, by the ``settings`` of a
    stage, or by the stage that it is ``like``."""
    parts = key.split(".")
    node = written
    for depth, part in enumerate(parts):
        if not isinstance(node, Mapping):
            return key
        rest = parts[depth:]
        if part in node:
            node, rest = node[part], parts[depth + 1 :]
        elif depth == 2 and parts[0] == "stages" and "like" in node:
            node = f"${{stages.{node['like']}}}"
        elif depth == 2 and parts[0] == "stages" and "settings" in node:
            node = node["settings"]
        else:
            return key
        if isinstance(node, str) and (other := _INTERPOLATION.fullmatch(node)):
            if written_value(other[1], written) is ABSENT:
                return key
            return _source_key(".".join([other[1], *rest]), written)
    return key


def written_value(key: str, written: Any) -> Any:
    """Return the value under a key as it is written: the interpolation where it, or a node above it, is one."""
    for part in key.split("."):
        if isinstance(written, str):
            return written
        if not isinstance(written, Mapping) or part not in written:
            return ABSENT
        written = written[part]
    return written
