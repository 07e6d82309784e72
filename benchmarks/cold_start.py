"""Seconds until a command that computes nothing has answered, beside those of importing torch and transformers.

    python benchmarks/cold_start.py                                        a run of the splits only
    python benchmarks/cold_start.py prune.ratio=0.5 store.dir=$PWD/store   of any run, which is made first

Each command is a fresh process, started several times in turn with the others; the median counts. The run is made
once before, so that all of it is cached. Relative paths start from a temporary folder. Writes cold_start.json with
``--json`` or into the folder OUT.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from speed.watch import add_json, table, write_json

from stc.system.paths import ROOT

SPLITS = ["pipeline.outputs=[disjoint]"]
JOBS = ["prune.ratio=0.0625,0.125,0.1875,0.25,0.3125,0.375,0.4375,0.5", "lang=de,zh"]  # 16 of them


def commands(settings: list[str]) -> dict[str, list[str]]:
    """What is timed, the measure of it first; all of them arguments of Python."""
    run = ["-m", "stc.run"]
    return {
        "import torch, transformers": ["-c", "import torch, transformers"],
        "stc.run --help": [*run, "--help"],
        "stc.run, all cached": [*run, *settings],
        "stc.run -m plan=true, 16 jobs": [*run, "-m", "plan=true", *JOBS],
    }


def seconds(arguments: list[str], folder: Path) -> float:
    """Of a fresh process. Exits with what it said where it fails."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    taken = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)} exited with {done.returncode}:\n{done.stdout}{done.stderr}")
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", nargs="*", default=SPLITS, help="of the cached run, as stc.run takes them")
    parser.add_argument("--repeat", type=int, default=5, help="times each command is started; 5")
    add_json(parser)
    args = parser.parse_args()
    timed = commands(args.settings)
    found: dict[str, list[float]] = {name: [] for name in timed}
    with tempfile.TemporaryDirectory(prefix="cold_start_") as folder:
        print(f"made, to be cached: {seconds(timed['stc.run, all cached'], Path(folder)):.1f} s", flush=True)
        for number in range(args.repeat):
            for name, arguments in timed.items():
                found[name].append(seconds(arguments, Path(folder)))
            last = ", ".join(f"{name} {taken[-1]:.2f} s" for name, taken in found.items())
            print(f"{number + 1}: {last}", flush=True)
    medians = {name: statistics.median(taken) for name, taken in found.items()}
    imports = next(iter(medians.values()))
    print("\n" + table([
        {"command": name, "median": f"{median:.2f} s", "fastest": f"{min(found[name]):.2f} s",
         "share of the imports": f"{median / imports:.2f}"}
        for name, median in medians.items()
    ]))  # fmt: skip
    about = {"machine": platform.machine(), "python": platform.python_version(), "settings": args.settings}
    write_json({**about, "seconds": found, "medians": medians}, args.json, "cold_start")


if __name__ == "__main__":
    main()
