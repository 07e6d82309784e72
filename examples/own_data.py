"""Write recordings and texts as data, and compress a model on them.

    python examples/own_data.py DATA_FOLDER OUT_FOLDER

Here the recordings are those of the shipped corpus; yours go in their place. A split is a file of JSON Lines.
"""

import argparse
import json
import shutil
from pathlib import Path

import stc

SHIPPED = Path(__file__).parent.parent / "assets" / "talks"

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("data", type=Path)
parser.add_argument("out", type=Path)
parser.add_argument("--each", type=int, default=40, help="utterances of a split")
parser.add_argument("--set", nargs="*", default=[], dest="overrides", help="more settings of the run")
given = parser.parse_args()

for split in ("train", "dev", "selection", "test"):
    lines = (SHIPPED / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()[: given.each]
    rows = [json.loads(line) for line in lines]
    for row in rows:
        recording = given.data / row["audio"]
        recording.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(SHIPPED / row["audio"], recording)
    kept = [{key: row[key] for key in ("audio", "text_en", "text_de")} for row in rows]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept)
    (given.data / f"{split}.jsonl").write_text(text, encoding="utf-8")

arguments = [
    "lang=de",
    f"data.path={given.data}",
    "prune=middle",
    "prune.ratio=0.25",
    "tracking=none",
    f"store.dir={given.out / 'store'}",
    *given.overrides,
]
print(stc.plan_run(*arguments))
result = stc.run_config(*arguments, folder=given.out / "run")
for system in result["systems"]:
    print(f"{system['name']:20} {system['bytes_on_disk']:>12,} bytes  chrF++ {system['chrf_pp']:.1f}")
