"""``python -m stc.store ls | show | why | verify | gc``: look into a store, check it, and free space in it."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from stc.errors import StcError
from stc.store import Store
from stc.store.artifact import Kind
from stc.store.inventory import Inventory
from stc.store.location import is_store
from stc.system.console import run_command, whole_number

_DESCRIPTION = "Look into a store: what is there, what made it, and what was made from it. Free space in it."
DEPTH = 3  # levels of inputs that `why` lists
_GC = """\
Free space. Leftovers are deleted: damaged results that were set aside, what killed processes were writing, and scratch
(such as the checkpoints of a training) of finished results, or not changed for a week. With --keep or --max-size,
weights are evicted as well, the least missed first: features and cached logits, models without scores, other models and
adapters, manifests. Records stay, scores are never deleted, and a run that needs an evicted result makes it anew.
"""
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. Return 0, or 1 if something is damaged, missing or does not fit."""
    return run_command(lambda: _run(build_parser().parse_args(arguments)))


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stc.store", description=_DESCRIPTION)
    parser.add_argument("--store", type=Path, default=Path("store"), metavar="FOLDER", help="default: store")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    ls = commands.add_parser("ls", help="list the results, oldest first")
    ls.add_argument("--kind", choices=[kind.value for kind in Kind], help="only those of one kind")
    about = {"show": "print a result's record", "why": "list what a result was made from, and what was made from it"}
    for name, text in about.items():
        one = commands.add_parser(name, help=text)
        one.add_argument("id", metavar="ID", help="an identity, or its first digits")
        if name == "why":
            help_ = f"levels of inputs to list (default: {DEPTH})"
            one.add_argument("--depth", type=whole_number, default=DEPTH, metavar="N", help=help_)
    commands.add_parser("verify", help="read every file and compare it with its checksum; set aside what is damaged")
    gc = commands.add_parser(
        "gc", help="free space", description=_GC, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = "what stays: kinds, folders of runs (outputs/…), identities"
    gc.add_argument("--keep", nargs="+", default=[], metavar="WHAT", help=what)
    limit = "evict only as much as needed to get to this size, such as 20GB"
    gc.add_argument("--max-size", type=parse_size, metavar="SIZE", help=limit)
    gc.add_argument("--dry-run", action="store_true", help="only print what would be deleted")
    return parser


def _run(options: argparse.Namespace) -> int:
    if not options.store.is_dir():
        raise StcError(f"{options.store} is no folder: --store FOLDER says where the store is")
    if not is_store(options.store):
        raise StcError(f"{options.store} is no store of stc: --store FOLDER says where the store is")
    inventory = Inventory(Store(options.store))
    if options.command == "verify":
        return _verify(inventory)
    if options.command == "gc":
        return _collect(inventory, options)
    from stc.store import describe

    if options.command == "ls":
        lines = describe.format_list(inventory, options.kind)
    elif options.command == "show":
        lines = describe.format_entry(inventory.find(options.id))
    else:
        lines = describe.format_trace(inventory, inventory.find(options.id), options.depth)
    for line in lines:
        print(line)
    return 0


def _verify(inventory: Inventory) -> int:
    from stc.store.verify import artifact_fault, find_damaged, find_unlisted_files

    faulty: set[str] = set()
    for entry, why in find_damaged(inventory):
        try:
            aside = inventory.store.set_aside(entry.kind, entry.identity, artifact_fault)
        except StcError as error:  # another process is at it, or the store can only be read
            faulty.add(entry.identity)
            print(f"{entry.label}: {why}; left where it is, since {error}")
            continue
        if aside is not None:  # else it has been evicted, or made anew, since it was read
            faulty.add(entry.identity)
            print(f"{entry.label}: {why}; set aside as {aside}")
    for entry, file in find_unlisted_files(inventory):
        faulty.add(entry.identity)
        print(f"{entry.label}: {file} was not written by stc, and is left where it is: move it out of the store")
    whole = sum(not entry.evicted for entry in inventory.entries) - len(faulty)
    print(f"{whole} results are intact, {len(faulty)} damaged")
    return int(bool(faulty))


def _collect(inventory: Inventory, options: argparse.Namespace) -> int:
    from stc.store.describe import format_collection
    from stc.store.garbage_collection import apply_collection, plan_collection
    from stc.system.number_formats import format_bytes

    keep = [item for given in options.keep for item in ([given] if Path(given).exists() else given.split(","))]
    found = plan_collection(inventory, keep, options.max_size)
    for line in format_collection(found):
        print(line)
    after = found.after
    if not options.dry_run:
        for why, bytes_ in apply_collection(inventory.store, found):
            print(f"stays: {why}")
            after += bytes_
    verb = "would take" if options.dry_run else "takes"
    print(f"the store took {format_bytes(found.before)}; it {verb} {format_bytes(after)}")
    if options.max_size is not None and after > options.max_size:
        print(
            f"nothing else may be deleted, so the store stays above {format_bytes(options.max_size)}", file=sys.stderr
        )
        return 1
    return 0


def parse_size(text: str) -> int:
    """Return a size such as ``20GB`` in bytes."""
    match = re.fullmatch(r"([\d.]+)\s*([kmgt]?)(i?)b?", text.lower())
    try:
        number = float(match[1]) if match else -1
    except ValueError:
        number = -1
    if match is None or number < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no size: use 500MB or 20GB, for example")
    power = list(_UNITS).index(match[2])
    return int(number * (1024**power if match[3] else _UNITS[match[2]]))


if __name__ == "__main__":
    sys.exit(main())
