"""Healing beside other work: stc's way of waiting between threads against OpenMP's own and against sleeping at once.

    python benchmarks/busy_machine.py                    the demo's healing, quiet and beside one busy process a core
    python benchmarks/busy_machine.py data.limit=160     a shorter one

The stages before healing are made once, in a temporary store; then the stage `heal` is made anew by a fresh process for
every way and condition in turn, and its seconds are those of its record. The quiet figures mean something on a machine
that does nothing else. A side that takes longer than ``--limit`` seconds is stopped, and its figure is a lower bound.
Writes busy_machine.json with ``--json`` or into the folder OUT.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from speed.watch import add_json, table, write_json

from stc.system.paths import ROOT

WAYS: dict[str, dict[str, str]] = {
    "stc": {},
    # As a process has it where nothing is set: libgomp looks 300,000 times unless it sees more threads than cores.
    "OpenMP's default": {"GOMP_SPINCOUNT": "300000", "KMP_BLOCKTIME": "200"},
    "asleep at once": {"OMP_WAIT_POLICY": "PASSIVE"},
}
SETTINGS = ["lang=zh", "prune=middle", "prune.ratio=0.5", "pipeline.outputs=[heal]", "tracking=none"]


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Keep so many processes computing."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def healing_seconds(settings: list[str], folder: Path, way: dict[str, str], limit: float | None = None) -> float | None:
    """Return the seconds that making `heal` took in a fresh process; None where the limit ended it."""
    command = [sys.executable, "-m", "stc.run", *SETTINGS, *settings]
    command += ["force=[heal]", f"store.dir={folder / 'store'}", f"hydra.run.dir={folder / 'run'}"]
    environment = {key: value for key, value in os.environ.items() if key not in ("GOMP_SPINCOUNT", "KMP_BLOCKTIME")}
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env={**environment, "PYTHONPATH": str(ROOT), **way},
            capture_output=True,
            text=True,
            check=False,
            timeout=limit,
        )
    except subprocess.TimeoutExpired:
        return None
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} exited with {done.returncode}:\n{done.stderr}")
    stages = json.loads((folder / "run" / "result.json").read_text(encoding="utf-8"))["stages"]
    return next(float(stage["seconds"]) for stage in stages if stage["name"] == "heal")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", nargs="*", default=[], help="of the run, as stc.run takes them")
    parser.add_argument("--repeat", type=int, default=3, help="times each way is measured in each condition; 3")
    parser.add_argument("--busy", type=int, default=os.cpu_count(), help="busy processes; one a core")
    parser.add_argument("--limit", type=float, default=240, help="seconds after which a side is stopped; 240")
    add_json(parser)
    args = parser.parse_args()
    found: dict[str, dict[str, list[float]]] = {name: {"quiet": [], "busy": []} for name in WAYS}
    with tempfile.TemporaryDirectory(prefix="busy_machine_") as name:
        folder = Path(name)
        healing_seconds(args.settings, folder, {})  # and everything before it
        for _ in range(args.repeat):
            for way, environment in WAYS.items():
                for condition, processes in (("quiet", 0), ("busy", args.busy)):
                    with busy(processes):
                        seconds = healing_seconds(args.settings, folder, environment, args.limit)
                    found[way][condition].append(args.limit if seconds is None else seconds)
                    print(f"{way}, {condition}: {found[way][condition][-1]:.1f} s", flush=True)
    medians = {way: {key: statistics.median(taken) for key, taken in sides.items()} for way, sides in found.items()}
    reference = medians["OpenMP's default"]["quiet"]
    print("\n" + table([
        {"way": way, "quiet": f"{of['quiet']:.1f} s", "of the default's quiet": f"{of['quiet'] / reference:.2f}",
         "busy": f"{of['busy']:.1f} s", "busy / own quiet": f"{of['busy'] / of['quiet']:.2f}",
         "slowest busy": f"{max(found[way]['busy']):.1f} s"}
        for way, of in medians.items()
    ]))  # fmt: skip
    write_json({"settings": args.settings, "seconds": found, "medians": medians}, args.json, "busy_machine")


if __name__ == "__main__":
    main()
