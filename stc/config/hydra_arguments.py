"""Hydra's command line: its options and overrides, and Hydra initialized for them."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from stc.errors import ConfigError, Fault, command_line_value
from stc.system.paths import CONF, EXPERIMENTS

_EXCLUSIVE_OPTIONS = ("run", "multirun", "cfg", "info", "shell_completion")


def parse_arguments(arguments: Sequence[str]) -> Namespace:
    """Parse the arguments: ``overrides`` are the assignments, wherever they stand, and the rest are options.

    Raises:
        ConfigError: options exclude each other, or a folder of configs does not exist.
        SystemExit: there is no such option; the parser has printed so.
    """
    from hydra._internal.utils import get_args_parser

    parser = get_args_parser()
    parser.prog = "python -m stc.run"
    parser.add_argument("-v", "--verbose", action="store_true", help="the same as verbose=true")
    options = parser.parse_intermixed_args(list(arguments))
    if vars(options).pop("verbose"):  # Hydra does not know it
        options.overrides.insert(0, "verbose=true")  # what the command assigns comes after it
    faults = []
    if len(several := [_option_text(name) for name in _EXCLUSIVE_OPTIONS if getattr(options, name)]) > 1:
        faults.append(Fault(several[0], " ".join(several[1:]), "only one of these can be asked for"))
    if options.resolve and not options.cfg:
        faults.append(Fault("--resolve", True, "goes with --cfg job"))
    if options.config_dir is not None and not Path(options.config_dir).is_dir():
        faults.append(Fault("--config-dir", options.config_dir, "no such folder"))
    if options.config_path is not None and not Path(options.config_path).is_absolute():
        faults.append(Fault("--config-path", options.config_path, "must be absolute; --config-dir adds to what ships"))
    if faults:
        raise ConfigError(faults)
    return options


def format_arguments(options: Namespace, overrides: Sequence[str]) -> list[str]:
    """Return a command line of these options, which come first, and these overrides."""
    words = []
    for name, value in vars(options).items():
        if name != "overrides" and value not in (None, False):
            words.append(_option_text(name) if value is True else f"{_option_text(name)}={value}")
    return [*words, *overrides]


def add_sweeper_params(params: Mapping[str, Any], overrides: Sequence[str]) -> list[str]:
    """Return the overrides after assignments for those ``hydra.sweeper.params`` whose key they do not set."""
    keys = {override.lstrip("+~").partition("=")[0] for override in overrides}
    added = {key: value for key, value in params.items() if key.lstrip("+~") not in keys}
    return [
        *(f"{key}={value if isinstance(value, str) else command_line_value(value)}" for key, value in added.items()),
        *overrides,
    ]


def _option_text(name: str) -> str:
    return "-m" if name == "multirun" else f"--{name.replace('_', '-')}"


def root_config_name(options: Namespace) -> str:
    return options.config_name or "config"


def config_groups(options: Namespace | None = None) -> dict[str, list[str]]:
    """Return the config groups of a run and their members: those that ship, and those that the command adds."""
    added = [] if options is None else list(_added_config_folders(options))
    folders = [folder for place in (CONF, *added) for folder in sorted(place.iterdir()) if folder.is_dir()]
    found: dict[str, set[str]] = {}
    for folder in [*folders, EXPERIMENTS]:
        if folder.name != "hydra":
            found.setdefault(folder.name, set()).update(file.stem for file in folder.glob("*.yaml"))
    return {name: sorted(members) for name, members in found.items()}


def _added_config_folders(options: Namespace) -> Iterator[Path]:
    """Yield the folders of configs that a command names, by ``--config-dir`` and ``hydra.searchpath``."""
    from hydra.errors import HydraException

    from stc.config.override_values import parse_override

    if options.config_dir:
        yield Path(options.config_dir)
    for override in options.overrides:
        if override.lstrip("+").startswith("hydra.searchpath="):
            with suppress(HydraException):  # reported with the other assignments
                places = parse_override(override).value()
                paths = [str(one).removeprefix("file://") for one in (places if isinstance(places, list) else [])]
                yield from (Path(path) for path in paths if Path(path).is_dir())


@contextmanager
def hydra_session(options: Namespace) -> Iterator[Any]:
    """Initialize Hydra inside the block, with the search path that the command asks for."""
    from hydra import initialize_config_dir
    from hydra._internal.hydra import Hydra
    from hydra._internal.utils import create_config_search_path
    from hydra.core.config_search_path import SearchPathQuery
    from hydra.core.global_hydra import GlobalHydra

    main = str(options.config_path or CONF)
    with initialize_config_dir(main, version_base=None):  # restores the former state at its end
        if options.config_dir is not None:
            search_path = create_config_search_path(main)
            place = f"file://{Path(options.config_dir).absolute()}"
            search_path.prepend("command-line", place, anchor=SearchPathQuery(provider="schema"))
            GlobalHydra.instance().clear()
            Hydra.create_main_hydra2("app", search_path)
        yield GlobalHydra.instance().hydra
