"""Run several pruning ratios, and tabulate the size and quality of each. What they share is computed once.

    python examples/compare_ratios.py OUT_FOLDER 0.125 0.25 0.5

A sweep does the same with tracking, on a cluster too: python -m stc.run -m prune.ratio=0.125,0.25,0.5 lang=de
"""

import argparse
from pathlib import Path

import stc

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("out", type=Path)
parser.add_argument("ratios", type=float, nargs="+")
parser.add_argument("--set", nargs="*", default=[], dest="overrides", help="more settings of the runs")
given = parser.parse_args()

shared = ["lang=de", "tracking=none", f"store.dir={given.out / 'store'}", *given.overrides]
folders = []
for ratio in given.ratios:
    folders.append(given.out / f"ratio-{ratio}")
    stc.run_config(*shared, f"prune.ratio={ratio}", folder=folders[-1])

print(f"{'ratio':>6} {'layers':>6} {'bytes':>12} {'kept':>7}")
for ratio, folder in zip(given.ratios, folders, strict=True):
    system = stc.read_result(folder)["systems"][-1]
    print(f"{ratio:6} {system['layers']:6} {system['bytes_on_disk']:12,} {100 * system['retention']:5.1f} %")
