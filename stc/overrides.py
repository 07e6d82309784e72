"""The command line before Hydra sees it: every fault in it at once, in words that name what is allowed.

Hydra stops at the first unknown key and advises ``+key``, which then runs the defaults. Here group choices and
top-level keys are checked against conf/, and plain assignments are passed on as ``++key=value``, so that an unknown
inner key reaches the schema, which answers for all of them together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stc.errors import ConfigError, Fault, nearest
from stc.paths import CONF, EXPERIMENTS

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from stc.config import Plan

_VALUED = ("-c", "--cfg", "-p", "--package", "-cp", "--config-path", "-cn", "--config-name", "-cd", "--config-dir")
"""Options of Hydra that take the next argument as their value."""


def groups() -> dict[str, list[str]]:
    """Every config group of a run and its members."""
    found = {folder.name: folder for folder in sorted(CONF.iterdir()) if folder.is_dir() and folder.name != "hydra"}
    found["experiments"] = EXPERIMENTS
    return {name: sorted(file.stem for file in folder.glob("*.yaml")) for name, folder in found.items()}


def checked(arguments: list[str]) -> list[str]:
    """The arguments as Hydra should get them.

    Raises:
        ConfigError: with every group choice and top-level key that does not exist.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.core.override_parser.types import Override
    from hydra.errors import HydraException

    from stc import launchers

    parser = OverridesParser.create()
    faults: list[Fault] = []
    passed: list[str] = []
    parsed: list[Override] = []
    known = groups()
    top = [*known, "teacher", "recover", "seed", "seeds", "fail_fast", "force", "store", "stages", "plan", "hydra"]
    assignments = _assignments(arguments)
    multirun = sweeping(arguments)
    for position, argument in enumerate(arguments):
        if position not in assignments:
            passed.append(argument)
            continue
        try:
            override = parser.parse_override(argument)
        except HydraException as error:
            faults.append(Fault(argument, "", f"not an assignment key=value: {str(error).splitlines()[0]}"))
            continue
        parsed.append(override)
        key = override.key_or_group
        members = known.get(key, [])
        first = key.split(".")[0]
        name, _, value = argument.partition("=")
        if not members and first.split("/")[0] not in top:
            faults.append(Fault(key, value, f"no such key; at the top are {', '.join(top)}{nearest(first, top)}"))
        elif (override.is_sweep_override() and not multirun) or (members and "[" in value):
            one = f"exactly one of {', '.join(members)}" if members else "exactly one value"
            several = "".join(sign for sign in value if sign not in "[] ")
            way = f"-m {name}={several} runs each of several"
            faults.append(
                Fault(name, value, f"{one} is needed; {way}" if key != "seeds" else f"seeds=[{several}] is needed")
            )
        elif members:
            bad = [choice for choice in value.split(",") if choice not in members and not argument.startswith("~")]
            faults += [
                Fault(name.lstrip("+"), choice, f"must be one of {', '.join(members)}{nearest(choice, members)}")
                for choice in bad
            ]
            passed.append(argument)
        elif key.startswith("hydra") or argument[0] in "+~":
            passed.append(argument)
        else:
            passed.append(f"++{argument}")
    faults += launchers.faults(parsed, multirun or bool({"--cfg", "-c"} & set(arguments)))
    if faults:
        raise ConfigError(faults + _composed(passed)[1])
    behind = max(assignments, default=-1) + 1
    passed[behind:behind] = launchers.completed(parsed)
    return passed


def jobs(arguments: list[str]) -> list[list[str]]:
    """The overrides of every job: one for a single run, each combination for a sweep."""
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.override_parser.overrides_parser import OverridesParser

    overrides = list(_assignments(arguments).values())
    if not sweeping(arguments):
        return [overrides]
    batches = BasicSweeper.split_arguments(OverridesParser.create().parse_overrides(overrides), None)
    return [list(job) for batch in batches for job in batch]


def launchable(arguments: list[str]) -> None:
    """Look for what a sweep is launched by on this machine. A plan, and printing the config, don't need it.

    Raises:
        ConfigError: it is not here.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser

    from stc import launchers

    given = list(_assignments(arguments).values())
    if lacking := launchers.lacking(OverridesParser.create().parse_overrides(given)):
        raise ConfigError(lacking)


def composed(arguments: list[str]) -> list[tuple[DictConfig, Plan]]:
    """Every job, composed, and what it comes to.

    Raises:
        ConfigError: with the faults of all jobs, each once.
    """
    found, faults = _composed(arguments)
    if faults:
        raise ConfigError(faults)
    return found


def asked_for_plan(arguments: list[str]) -> tuple[bool, list[str]]:
    """Whether ``plan=true`` is among the arguments, and the others.

    Raises:
        ConfigError: plan is neither true nor false.
    """
    given = [arguments[position] for position, one in _assignments(arguments).items() if one.startswith("plan=")]
    for argument in given:
        value = argument.partition("=")[2]
        if value.lower() not in ("true", "false"):
            raise ConfigError([Fault("plan", value, "must be true or false")])
    others = [argument for argument in arguments if argument not in given]
    return bool(given) and given[-1].lower() == "plan=true", others


def _composed(arguments: list[str]) -> tuple[list[tuple[DictConfig, Plan]], list[Fault]]:
    from hydra import compose, initialize_config_dir
    from hydra.errors import HydraException

    from stc.config import plan

    known = groups()
    faults: dict[str, Fault] = {}
    found: list[tuple[DictConfig, Plan]] = []
    try:
        wanted = jobs(arguments)
    except HydraException as error:  # a sweep that only Hydra itself could expand: glob(…)
        return [], [Fault(" ".join(_assignments(arguments).values()), "", str(error).splitlines()[0])]
    for job in wanted:
        sound = [one for one in job if _choice_exists(one, known) and not one.startswith("hydra")]
        try:
            with initialize_config_dir(str(CONF), version_base=None):
                config = compose("config", sound)
            found.append((config, plan(config)))
        except ConfigError as error:
            faults.update({str(fault): fault for fault in error.faults})
        except HydraException as error:
            fault = Fault(" ".join(job), "", " ".join(str(error).splitlines()[:2]))
            faults.setdefault(str(fault), fault)
    return found, list(faults.values())


def sweeping(arguments: list[str]) -> bool:
    """Whether the arguments ask for a sweep."""
    return bool({"-m", "--multirun"} & set(arguments))


def _assignments(arguments: list[str]) -> dict[int, str]:
    """The arguments that are neither an option nor an option's value, by position."""
    pairs = zip(["", *arguments], arguments, strict=False)
    return {
        position: argument
        for position, (before, argument) in enumerate(pairs)
        if not argument.startswith("-") and before not in _VALUED
    }


def _choice_exists(override: str, known: dict[str, list[str]]) -> bool:
    key, _, value = override.partition("=")
    key = key.split("@")[0]
    return key not in known or value in known[key]
