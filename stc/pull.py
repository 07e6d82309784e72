"""``python -m stc.pull [GROUP=MEMBER] [KEY=VALUE] …``: fetches what a run reads of the Hugging Face hub.

Afterwards the run needs no network. What was downloaded before is not downloaded again, and every file is compared with
the checksum that the hub has of it.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from stc.config.composition import compose_jobs
from stc.config.override_checks import check_arguments, split_plan_option
from stc.errors import ConfigError, InputError, StcError
from stc.jobs.hydra_task import format_faults
from stc.planning.disk import free_disk_space
from stc.planning.downloads import needed_of_hub
from stc.planning.preflight import hub_faults
from stc.store import Store
from stc.system.console import run_command
from stc.system.hub_files import HubListing, HubUnreachable
from stc.system.number_formats import format_bytes
from stc.system.paths import set_root_variable
from stc.system.tables import Column, terminal_table

_DESCRIPTION = """\
Fetch the models and data that a run with these settings reads of the Hugging Face hub, check them, and print the
command that runs without network. Takes the settings of python -m stc.run, with -m those of a sweep."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Return 0, 1 (something cannot be had) or 2 (the config is faulty)."""
    parser = argparse.ArgumentParser(prog="python -m stc.pull", description=_DESCRIPTION)
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="as python -m stc.run takes them")
    parser.add_argument("-m", "--multirun", action="store_true", help="what all jobs of a sweep read")
    parser.add_argument("--dry-run", action="store_true", help="say what would be fetched (as plan=true), and stop")
    parser.add_argument(
        "--config-dir", metavar="FOLDER", help="more members of the groups, as python -m stc.run takes it"
    )

    def run() -> int:
        options = parser.parse_args(arguments)
        added = [f"--config-dir={options.config_dir}"] if options.config_dir else []
        added += ["-m"] if options.multirun else []
        try:
            return _pull([*added, *options.settings], options.dry_run)
        except ConfigError as error:
            print(format_faults(error), file=sys.stderr)
            return 2

    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "0")  # a large download takes an hour
    return run_command(run)


def _pull(given: Sequence[str], dry_run: bool) -> int:
    set_root_variable()
    planning, settings = split_plan_option(given)
    plans = [job.plan for job in compose_jobs(check_arguments(settings))]
    refused, _ = hub_faults(plans)
    if refused:
        raise ConfigError(refused)
    needed, unknown = needed_of_hub(plans)
    if unknown:
        raise InputError("\n".join(map(str, unknown)))
    command = f"HF_HUB_OFFLINE=1 {shlex.join(['python', '-m', 'stc.run', *settings])}"
    if not needed:
        print(f"nothing is read of the Hugging Face hub\n  {command}")
        return 0
    try:
        listings = [one.listed() for one in needed]
    except HubUnreachable:
        missing = [one.name for one in needed if not one.is_here()]
        if missing:
            raise
        print(f"everything is here; the hub does not answer, so nothing was compared with it\n  {command}")
        return 0
    for line in terminal_table(_COLUMNS, [_row(one) for one in listings]):
        print(line)
    _check_room(listings)
    if dry_run or planning:
        return 0
    store = Store(plans[0].config.store.dir)
    for listing in listings:
        folder = listing.fetch()
        listing.check(folder, store.sha256)
        store.save_hashes()  # a run reads the files of a model again for its identity
        listing.wanted.unpack()
        print(f"{listing.wanted.name}: {len(listing.files)} files as the hub has them, {folder}")
    if missing := [one.name for one in needed if not one.is_here()]:
        raise StcError(f"{', '.join(missing)} would not be found without network: please report this")
    print(f"\neverything is here, and no network is needed:\n  {command}")
    return 0


def _row(listing: HubListing) -> dict[str, str]:
    missing = listing.bytes_to_download
    return {
        "what": listing.wanted.what,
        "name": listing.wanted.name,
        "commit": listing.commit,
        "bytes": format_bytes(listing.bytes),
        "missing": format_bytes(missing) if missing or not listing.wanted.is_here() else "is here",
    }


_COLUMNS = (
    Column(("", "for"), lambda row: row["what"], align_left=True),
    Column(("", "repository"), lambda row: row["name"], align_left=True),
    Column(("", "commit"), lambda row: row["commit"], align_left=True),
    Column(("", "size"), lambda row: row["bytes"]),
    Column(("to", "download"), lambda row: row["missing"]),
)


def _check_room(listings: Sequence[HubListing]) -> None:
    """Print what is needed and free on the disk. Raise StcError if that does not suffice."""
    from huggingface_hub.constants import HF_HUB_CACHE

    downloads = sum(one.bytes_to_download for one in listings)
    # The tables that are made of a data set take about as much as its files.
    tables = sum(one.bytes for one in listings if one.wanted.unpacked is not None and not one.wanted.is_here())
    if not downloads + tables:
        return
    free = free_disk_space(Path(HF_HUB_CACHE))
    told = f" and, for tables of the data, {format_bytes(tables)}" if tables else ""
    print(f"to come into {HF_HUB_CACHE}: {format_bytes(downloads)}{told}; {format_bytes(free)} are free there")
    if downloads + tables > free:
        raise StcError(
            f"{HF_HUB_CACHE} has no room for that: free some space, or set HF_HOME to a folder on another disk, here "
            "and for the runs"
        )


if __name__ == "__main__":
    sys.exit(main())
