"""``python -m stc.doctor [GROUP=MEMBER] [KEY=VALUE] …``: finds what a run with these settings would fail on.

This file imports only the standard library at its head: the doctor has to answer where packages are missing too.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from stc.config.composition import ComposedJob
    from stc.planning.machine_checks import Check

_DESCRIPTION = """\
Try out what a run needs of this machine, one line a check: OK, WARN (works, with a limit) or FAIL. What failed is
repeated at the end, with what to do. Takes the settings of python -m stc.run, and checks what a run with them would
use. The exit code is 1 where something would fail."""
WIDTH = 100


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the checks. Return 0, or 1 if a run would fail."""
    parser = argparse.ArgumentParser(prog="python -m stc.doctor", description=_DESCRIPTION)
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="as python -m stc.run takes them")
    parser.add_argument(
        "--config-dir", metavar="FOLDER", help="more members of the groups, as python -m stc.run takes it"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="a line for every package")
    options = parser.parse_args(arguments)
    try:
        from stc.planning import run_checks  # noqa: F401
        from stc.system.console import run_command
    except ModuleNotFoundError as error:
        print(f"FAIL  {error}, so stc cannot start. In its checkout, this installs what it needs:")
        print(f"      {sys.executable} -m pip install -r requirements.txt -e .")
        return 1
    added = [f"--config-dir={options.config_dir}"] if options.config_dir else []
    return run_command(lambda: _run_checks([*added, *options.settings], verbose=options.verbose))


class _Report:
    """The lines of the checks as they are made, and at the end again those that are not OK."""

    def __init__(self) -> None:
        self._checks: list[Check] = []

    def add(self, about: str, checks: Callable[[], Iterator[Check]], *, folded: bool = False) -> None:
        """Make checks and print a line for each.

        Args:
            about: what a check that cannot be made is about.
            folded: whether those that are OK have one line together.
        """
        from stc.errors import first_line
        from stc.planning.machine_checks import Check

        fine = 0
        try:
            for check in checks():
                self._checks.append(check)
                if folded and check.status == "OK":
                    fine += 1
                else:
                    _print_line(check)
        except Exception as error:  # a check that cannot be made has failed
            self._checks.append(Check("FAIL", about, f"{type(error).__name__}: {first_line(error)}"))
            _print_line(self._checks[-1])
        if fine:
            _print_line(Check("OK", about, f"{fine} installed, in versions that stc takes; -v lists them"))

    def failed(self) -> bool:
        return any(check.status == "FAIL" for check in self._checks)

    def end(self, notes: Sequence[str]) -> int:
        """Repeat what is not OK, failures last, and return the exit code."""
        failures, warnings = ([one for one in self._checks if one.status == status] for status in ("FAIL", "WARN"))
        if warnings:
            self._repeat(f"{len(warnings)} of {len(self._checks)} checks warn: a run works, with a limit", warnings)
        if not failures:
            print(f"\nnothing that a run needs is missing{', see the warnings' if warnings else ''}")
            return 0
        self._repeat(f"{len(failures)} of {len(self._checks)} checks failed: a run would fail", failures)
        for note in notes:
            print(textwrap.fill(note, WIDTH))
        return 1

    def _repeat(self, heading: str, checks: Sequence[Check]) -> None:
        print(f"\n{heading}")
        for check in checks:
            print(
                textwrap.fill(
                    _one_line(check.found),
                    WIDTH,
                    initial_indent=f"  {check.about:18} ",
                    subsequent_indent=" " * 21,
                    break_long_words=False,
                    break_on_hyphens=False,
                )
            )


def _print_line(check: Check) -> None:
    print(f"{check.status:4}  {check.about:18} {_one_line(check.found)}", flush=True)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _run_checks(settings: Sequence[str], *, verbose: bool) -> int:
    from stc.planning import machine_checks, run_checks

    report = _Report()
    report.add("python", machine_checks.check_python)
    report.add("packages", machine_checks.check_libraries, folded=not verbose)
    notes = ["Mend the packages first: what else failed may follow from them."] if report.failed() else []
    report.add("audio", machine_checks.check_audio_formats)
    jobs: list[ComposedJob] = []
    report.add("config", lambda: run_checks.check_config(settings, jobs))
    device: Literal["auto", "cpu", "cuda"] = jobs[0].plan.config.resources.device if jobs else "auto"
    quantizers = run_checks.used_quantizers(jobs[0].plan) if jobs else []
    report.add("devices", lambda: machine_checks.check_devices(device, quantizers))
    if not jobs:
        return report.end([*notes, "Model, data, store and MLflow are checked once the config has no faults."])
    plan = jobs[0].plan
    store, tracking = plan.config.store, plan.config.tracking
    report.add("model", lambda: run_checks.check_models(plan))
    report.add("offline", lambda: run_checks.check_offline(jobs))
    report.add("data", lambda: run_checks.check_data(plan))
    report.add("store", lambda: machine_checks.check_store(store.dir, run_checks.bytes_of_models(jobs)))
    if tracking.enabled:
        report.add("mlflow", lambda: machine_checks.check_tracking(tracking.uri))
    return report.end(notes)


if __name__ == "__main__":
    sys.exit(main())
