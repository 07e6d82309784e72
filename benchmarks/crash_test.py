"""A crash test: workers on one sweep are killed again and again, and what they end with is compared with a run that
was left in peace.

    python benchmarks/crash_test.py --kills 200 --workers 3
    python benchmarks/crash_test.py --kills 0 --workers 8          nothing is killed; how often is each stage made?
    python benchmarks/crash_test.py --kills 200 lang=zh data.limit=20

The workers are `python -m stc.run -m …` on the shipped base and data, with everything small, or as the settings say
that follow the options. Prints where they died and what was found; the exit code is 1 if anything of it may not be.
Needs Linux.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # equal sums, and no threads that a fork would lose
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from crash.campaign import Failed, Round, Tally
from crash.checks import Ledger, corrupted, differing, leftovers, results
from crash.worker import preload

SWEEP = {
    "lang": "de",
    "prune.ratio": "0.0625,0.125",  # one and two of the 16 layers
    "data.limit": "12",
    "model.max_new_tokens": "12",
    "teacher.batch_size": "1",
    "finetune.batch_size": "1",
    "metrics.timed_utterances": "1",
    "metrics.witnessed": "0",  # it is one more fresh process, as measure has one already
    "metrics.resamples": "100",
    "tracking": "none",
}


PATIENCE = 0.05  # of what an undisturbed run takes: so long a worker lives, on average, that is to die at some instant

RULES = (
    "corrupted artifacts",
    "finished stages lost",
    "finished stages made again",
    "checkpoints or scores lost",
    "results that differ from the undisturbed run's",
)


@dataclass
class Findings:
    """Of all rounds. ``broken`` rules, by name, with what broke them."""

    rounds: int = 0
    artifacts: int = 0
    begun: int = 0
    published: int = 0
    resumed: int = 0
    recovered: int = 0
    unusable: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    unread: int = 0
    left: list[str] = field(default_factory=list)
    stages: dict[str, Counter[str]] = field(default_factory=dict)  # by name: different, asked for, made
    broken: dict[str, list[str]] = field(default_factory=lambda: {rule: [] for rule in RULES})


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill workers, and see whether they end with the same results.")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0, help="of when and where to kill")
    parser.add_argument("--keep", type=Path, help="a new folder for stores, logs and report.json; removed otherwise")
    parser.add_argument("settings", nargs="*", help="of the sweep, as stc.run takes them")
    given = parser.parse_args()
    sweep = SWEEP | dict(setting.split("=", 1) for setting in given.settings)
    home = given.keep or Path(tempfile.mkdtemp(prefix="stc-crash-"))
    try:
        code = _test(home, sweep, given.kills, given.workers, given.seed)
    except Failed as failed:
        print(f"FAILED: {failed}")
        code = 1
    if code:
        print(f"stores and logs are kept in {home}")
    elif not given.keep:
        shutil.rmtree(home)
    return code


def _test(home: Path, sweep: Mapping[str, str], kills: int, workers: int, seed: int) -> int:
    preload()
    begun = time.monotonic()
    random, tally, findings = Random(seed), Tally(), Findings()
    undisturbed = Round(home / "undisturbed", [_command(sweep)], random, Tally())
    undisturbed.run(0)
    alone = time.monotonic() - begun
    _say(f"undisturbed: {alone:.0f} s")
    commands = [_command(sweep, backwards=number % 2 == 1) for number in range(workers)]
    while not findings.rounds or len(tally.kills) < kills:
        one = Round(home / f"round{findings.rounds + 1}", commands, random, tally, max(2.0, PATIENCE * alone))
        one.run(kills)
        _examine(one, undisturbed, findings)
        _say(f"round {findings.rounds}: {len(tally.kills)} kills so far, {time.monotonic() - begun:.0f} s")
    report = _report(tally, findings, workers, time.monotonic() - begun)
    print("\n".join(report))
    content = {"kills": tally.kills, "damaged": tally.damaged, "set_aside": tally.set_aside, **vars(findings)}
    (home / "report.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return int(any(findings.broken.values()))


def _command(sweep: Mapping[str, str], backwards: bool = False) -> list[str]:
    """``backwards``: the same sweep, its last job first, so that workers have different things to do."""
    turned = {key: ",".join(reversed(value.split(","))) if _swept(value) else value for key, value in sweep.items()}
    return ["-m", *(f"{key}={value}" for key, value in (turned if backwards else sweep).items())]


def _swept(value: str) -> bool:
    return "," in value and not any(bracket in value for bracket in "[{(")


def _examine(one: Round, undisturbed: Round, findings: Findings) -> None:
    """Look into a store after the sweep has ended on it, and after the same command once more."""
    broken = findings.broken
    damaged = {identity for _, identity in one.still_broken}
    broken["finished stages made again"] += [made for made in one.again() if made not in damaged]
    unread = one.still_broken
    ledger = Ledger(one.events.read(), one.seen)
    broken["corrupted artifacts"] += [str(fault) for fault in corrupted(one.store).items() if fault[0] not in unread]
    broken["finished stages lost"] += one.lost
    broken["finished stages made again"] += ledger.again
    broken["checkpoints or scores lost"] += ledger.lost
    differences = broken["results that differ from the undisturbed run's"]
    differences += differing(one.store, undisturbed.store, unread)
    asked: Counter[tuple[str, str]] = Counter()
    expected = results(undisturbed.store.parent / "sweep0", undisturbed.store)
    for number in range(len(one.workers)):
        found = results(one.store.parent / f"sweep{number}", one.store)
        asked.update(stage for job in found for stage in job["stages"])
        if found != expected:
            differences.append(f"result.json of worker {number}")
    for (name, identity), times in asked.items():
        counts = findings.stages.setdefault(name.partition(".")[0], Counter())
        counts.update({"different": 1, "asked for": times, "made": ledger.begun[identity]})
    findings.rounds += 1
    findings.artifacts += len(ledger.begun)
    findings.begun += ledger.begun.total()
    findings.published += ledger.published.total()
    findings.resumed += ledger.resumed
    findings.recovered += ledger.recovered
    findings.unusable += ledger.unusable
    findings.refused += ledger.refused
    findings.unread += len(unread)
    findings.left += leftovers(one.store)


def _report(tally: Tally, findings: Findings, workers: int, seconds: float) -> list[str]:
    kills = len(tally.kills)
    stages = Counter(stage for stage, _ in tally.kills)
    points = Counter(point for _, point in tally.kills if point)
    share = f", {tally.injected} of them ({tally.injected / kills:.0%}) at injected points" if kills else ""
    lines = [f"\n{kills} kills of {workers} workers, {findings.rounds} sweeps, {seconds:.0f} s{share}"]
    if kills:
        lines += [
            "\nWhere the worker was",
            *_bars(stages),
            "\nAt which point (the others at any instant)",
            *_bars(points),
        ]
    else:
        lines.append(f"{'stage':26} different  asked for   made")
        for name, counts in findings.stages.items():
            lines.append(f"{name:26} {counts['different']:9} {counts['asked for']:10} {counts['made']:6}")
    if tally.damaged:
        lines += ["\nDamaged on purpose, with all workers dead", *_bars(tally.damaged)]
        lines.append(
            f"  artifacts set aside and made again {tally.set_aside}, not needed again {findings.unread}; checkpoints "
            f"set aside {findings.unusable}"
        )
    if findings.refused:
        lines += ["\nRefused by a full disk", *_bars(findings.refused)]
    lines += [
        f"\nstages {findings.artifacts}, begun {findings.begun} times, published {findings.published} times",
        f"trainings that went on from a checkpoint {findings.resumed}, rounds that went on {findings.recovered}",
        f"files left behind {len(findings.left)}" + "".join(f"\n  {file}" for file in findings.left[:10]),
        "",
    ]
    for rule, faults in findings.broken.items():
        lines += [f"{len(faults):3} {rule}", *(f"      {fault}" for fault in faults[:10])]
    return lines


def _bars(counts: Mapping[str, int]) -> list[str]:
    width = max(map(len, counts), default=0)
    longest = max(counts.values(), default=1)
    ordered: Sequence[tuple[str, int]] = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    return [f"  {name:{width}} {count:4} {'█' * round(30 * count / longest)}" for name, count in ordered]


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
