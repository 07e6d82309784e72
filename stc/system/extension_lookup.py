"""Find extensions by name: a file of one of stc's packages, or a module outside stc by its dotted path.

A module is searched for on Python's path and in the folder that holds ``conf/``.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from inspect import isabstract
from pkgutil import iter_modules
from types import ModuleType
from typing import TypeVar

from stc.errors import ConfigError, Fault, suggestion
from stc.system.paths import ROOT

_Kind = TypeVar("_Kind")


def module_names(package: str) -> list[str]:
    """Return the names of the extensions in a package of stc: its files, except those that begin with "_"."""
    spec = find_spec(package)
    assert spec is not None
    found = (one.name for one in iter_modules(spec.submodule_search_locations) if not one.ispkg)
    return sorted(name for name in found if not name.startswith("_"))


def load_module(path: str) -> ModuleType:
    """Import a module by its dotted path.

    Raises:
        LookupError: there is no such module; the message names the part of the path that is missing.
    """
    if str(ROOT) not in sys.path:
        sys.path.append(str(ROOT))
    try:
        return import_module(path)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{path}.".startswith(f"{error.name}."):
            raise  # what it imports is missing
        raise LookupError(f"there is no module {error.name}") from None


def class_by_name(package: str, name: object, base: type[_Kind], key: str) -> type[_Kind]:
    """Return the one subclass of ``base`` that a module defines.

    Args:
        package: the package that holds stc's own extensions, such as ``stc.stages``.
        name: a file in the package (``finetune``), or the dotted path of a module (``talks.stages.pretrain``).
        base: the class that the extension is derived from.
        key: the setting that holds the name, for messages.

    Raises:
        ConfigError: there is no such module, or it does not define exactly one such class.
    """
    if isinstance(name, str) and "." in name and all(map(str.isidentifier, name.split("."))):
        path = name
    elif name in (known := module_names(package)):
        path = f"{package}.{name}"
    else:
        allowed = f"one of {', '.join(known)}{suggestion(str(name), known)}; or PACKAGE.MODULE for your own"
        raise ConfigError([Fault(key, name, allowed)])
    try:
        module = load_module(path)
    except LookupError as error:
        raise ConfigError([Fault(key, name, str(error))]) from None
    defined = [one for one in vars(module).values() if isinstance(one, type) and one.__module__ == path]
    found = [one for one in dict.fromkeys(defined) if issubclass(one, base) and not isabstract(one)]
    if len(found) != 1:
        has = ", ".join(one.__name__ for one in found) or "none"
        needed = f"its module must define one class that is a {base.__module__}.{base.__name__}; it defines {has}"
        raise ConfigError([Fault(key, name, needed)])
    return found[0]
