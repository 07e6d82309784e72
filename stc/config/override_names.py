"""Short names for what a job was asked for beside the others of a sweep."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence


def _percent(ratio: str) -> str:
    try:
        return f"{100 * float(ratio):.3g} %"
    except ValueError:
        return ratio


_NAMED = {"model", "lang", "prune", "prune.ratio", "pipeline", "seeds"}  # by stc.jobs.job
_AROUND = {"store", "tracking", "resources", "force", "fail_fast", "hydra", "hydra/launcher"}

# What says itself without its key, in the order in which one reads it.
_WORDS: dict[str, Callable[[str], str]] = {
    "model": str,
    "lang": str,
    "prune.ratio": _percent,
    "prune": str,
    "prune.method": str,
    "prune.scope": str,
    "quant": str,
    "experiments": str,
    "pipeline": str,
}


def describe_difference(overrides: Sequence[str], swept: Sequence[str]) -> str:
    """In what a job differs from the others of its sweep, in few words: ``zh 50 % block_influence``."""
    values = select_assignments(overrides, swept)
    words = [_WORDS[key](values.pop(key)) for key in _WORDS if key in values]
    names = short_names(list(values))
    return " ".join([*words, *(f"{names[key]} {value}" for key, value in values.items())])


def describe_settings(overrides: Sequence[str]) -> str:
    """What a run was asked for beside the settings its name has anyway and those that decide no result."""
    keys = [parse_assignment(override)[0] for override in overrides]
    return describe_difference(
        overrides, [key for key in keys if key not in _NAMED and key.split(".")[0] not in _AROUND]
    )


def short_names(keys: Sequence[str], taken: Iterable[str] = ()) -> dict[str, str]:
    """The shortest end of each key that no other ends in and that is not ``taken``: ``prune.ratio`` → ``ratio``."""
    ends = {key: list(key_suffixes(key)) for key in keys}
    names = {}
    for key in keys:
        others = {*taken, *(end for other in keys if other != key for end in ends[other])}
        names[key] = next((end for end in ends[key] if end not in others), key)
    return names


def key_suffixes(key: str) -> Iterator[str]:
    """``a.b`` → ``b``, ``a.b``; of ``group@place`` the place first."""
    parts = key.replace("@", ".").split(".")
    yield from (".".join(parts[-length:]) for length in range(1, len(parts)))
    yield key


def select_assignments(overrides: Sequence[str], keys: Sequence[str]) -> dict[str, str]:
    """What the overrides set these keys to."""
    return {key: value for key, value in map(parse_assignment, overrides) if key in keys}


def parse_assignment(override: str) -> tuple[str, str]:
    """Key and value of an override, the value without what only quotes it."""
    key, _, value = override.lstrip("+~").partition("=")
    if value.startswith(("'", '"')):
        from stc.config.override_values import parse_override

        text = parse_override(override).value()
        value = text if isinstance(text, str) else value
    return key, value
