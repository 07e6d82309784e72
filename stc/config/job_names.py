"""Short names for jobs, made of the overrides in which they differ."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence


def _percent(ratio: str) -> str:
    try:
        return f"{100 * float(ratio):.3g} %"
    except ValueError:
        return ratio


_IN_RUN_NAME = {"model", "lang", "prune", "prune.ratio", "pipeline", "seeds"}  # stc.jobs.job names a run by these
_WITHOUT_EFFECT = {"store", "tracking", "resources", "force", "fail_fast", "verbose", "hydra", "hydra/launcher"}

# Settings that are shown without their key, in this order.
_SHOWN_WITHOUT_KEY: dict[str, Callable[[str], str]] = {
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
    """Return in few words how a job differs from the others of its sweep: ``zh 50 % block_influence``."""
    values = select_assignments(overrides, swept)
    words = [_SHOWN_WITHOUT_KEY[key](values.pop(key)) for key in _SHOWN_WITHOUT_KEY if key in values]
    names = short_names(list(values))
    return " ".join([*words, *(f"{names[key]} {value}" for key, value in values.items())])


def describe_settings(overrides: Sequence[str]) -> str:
    """Return the settings of a run that decide its result and are not in its name anyway."""
    keys = [parse_assignment(override)[0] for override in overrides]
    shown = [key for key in keys if key not in _IN_RUN_NAME and key.split(".")[0] not in _WITHOUT_EFFECT]
    return describe_difference(overrides, shown)


def short_names(keys: Sequence[str], taken: Iterable[str] = ()) -> dict[str, str]:
    """Return the shortest suffix of each key that no other key has and that is not ``taken``: ``prune.ratio`` →
    ``ratio``."""
    suffixes = {key: list(key_suffixes(key)) for key in keys}
    names = {}
    for key in keys:
        others = {*taken, *(suffix for other in keys if other != key for suffix in suffixes[other])}
        names[key] = next((suffix for suffix in suffixes[key] if suffix not in others), key)
    return names


def key_suffixes(key: str) -> Iterator[str]:
    """Yield the suffixes of a key, the shortest first: ``a.b`` → ``b``, ``a.b``; of ``group@place`` the place."""
    parts = key.replace("@", ".").split(".")
    yield from (".".join(parts[-length:]) for length in range(1, len(parts)))
    yield key


def select_assignments(overrides: Sequence[str], keys: Sequence[str]) -> dict[str, str]:
    """Return the values that the overrides give to these keys."""
    return {key: value for key, value in map(parse_assignment, overrides) if key in keys}


def parse_assignment(override: str) -> tuple[str, str]:
    """Return key and value of an override, without quotes around the value."""
    key, _, value = override.lstrip("+~").partition("=")
    if value.startswith(("'", '"')):
        from stc.config.override_values import parse_override

        text = parse_override(override).value()
        value = text if isinstance(text, str) else value
    return key, value
