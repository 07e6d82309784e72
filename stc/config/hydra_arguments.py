"""A command line of Hydra's, taken apart by Hydra's own parser, and Hydra set up as it asks."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from stc.errors import ConfigError, Fault
from stc.system.paths import CONF, EXPERIMENTS

_COMMANDS = ("run", "multirun", "cfg", "info", "shell_completion")
"""Options of which Hydra takes one."""


def parse_arguments(arguments: Sequence[str]) -> Namespace:
    """Take the arguments apart: ``overrides`` are the assignments, wherever they stand, and the rest are options.

    Raises:
        ConfigError: options do not go together, or a folder of configs is not there.
        SystemExit: there is no such option; the parser has said so.
    """
    from hydra._internal.utils import get_args_parser

    parser = get_args_parser()
    parser.prog = "python -m stc.run"
    given = parser.parse_intermixed_args(list(arguments))
    faults = []
    if len(several := [_option(name) for name in _COMMANDS if getattr(given, name)]) > 1:
        faults.append(Fault(several[0], " ".join(several[1:]), "only one of these can be asked for"))
    if given.resolve and not given.cfg:
        faults.append(Fault("--resolve", True, "goes with --cfg job"))
    if given.config_dir is not None and not Path(given.config_dir).is_dir():
        faults.append(Fault("--config-dir", given.config_dir, "no such folder"))
    if given.config_path is not None and not Path(given.config_path).is_absolute():
        faults.append(Fault("--config-path", given.config_path, "must be absolute; --config-dir adds to what ships"))
    if faults:
        raise ConfigError(faults)
    return given


def format_arguments(given: Namespace, overrides: Sequence[str]) -> list[str]:
    """The arguments again, options first, with these overrides."""
    options = []
    for name, value in vars(given).items():
        if name != "overrides" and value not in (None, False):
            options.append(_option(name) if value is True else f"{_option(name)}={value}")
    return [*options, *overrides]


def _option(name: str) -> str:
    return "-m" if name == "multirun" else f"--{name.replace('_', '-')}"


def root_config_name(given: Namespace) -> str:
    """The name of the config that a command starts from."""
    return given.config_name or "config"


def config_groups(given: Namespace | None = None) -> dict[str, list[str]]:
    """Every config group of a run and its members: what ships, and what the command adds to it."""
    added = [] if given is None else list(_added(given))
    folders = [folder for place in (CONF, *added) for folder in sorted(place.iterdir()) if folder.is_dir()]
    found: dict[str, set[str]] = {}
    for folder in [*folders, EXPERIMENTS]:
        if folder.name != "hydra":
            found.setdefault(folder.name, set()).update(file.stem for file in folder.glob("*.yaml"))
    return {name: sorted(members) for name, members in found.items()}


def _added(given: Namespace) -> Iterator[Path]:
    """Yield the folders of configs that a command names, by ``--config-dir`` and ``hydra.searchpath``."""
    from hydra.errors import HydraException

    from stc.config.override_values import parse_override

    if given.config_dir:
        yield Path(given.config_dir)
    for override in given.overrides:
        if override.lstrip("+").startswith("hydra.searchpath="):
            with suppress(HydraException):  # which is told where assignments are judged
                places = parse_override(override).value()
                paths = [str(one).removeprefix("file://") for one in (places if isinstance(places, list) else [])]
                yield from (Path(path) for path in paths if Path(path).is_dir())


@contextmanager
def hydra_session(given: Namespace) -> Iterator[Any]:
    """Hydra with the search path that the command asks for, while the block lasts."""
    from hydra import initialize_config_dir
    from hydra._internal.hydra import Hydra
    from hydra._internal.utils import create_config_search_path
    from hydra.core.config_search_path import SearchPathQuery
    from hydra.core.global_hydra import GlobalHydra

    main = str(given.config_path or CONF)
    with initialize_config_dir(main, version_base=None):  # afterwards it puts back what was there before
        if given.config_dir is not None:
            searched = create_config_search_path(main)
            place = f"file://{Path(given.config_dir).absolute()}"
            searched.prepend("command-line", place, anchor=SearchPathQuery(provider="schema"))
            GlobalHydra.instance().clear()
            Hydra.create_main_hydra2("app", searched)
        yield GlobalHydra.instance().hydra
