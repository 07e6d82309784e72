"""Remove layers of a model by hand, quantize it, and translate with it: no run, no store.

python examples/own_model.py MODEL_FOLDER OUT_FOLDER --remove 5 6 --lang de --recording talk.wav
"""

import argparse
from pathlib import Path

import stc

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("model", type=Path)
parser.add_argument("out", type=Path)
parser.add_argument("--remove", type=int, nargs="+", required=True, help="decoder layers, numbered from 0")
parser.add_argument("--lang", default="de")
parser.add_argument("--recording", type=Path, required=True)
given = parser.parse_args()

model = stc.load_model(given.model)
print("before:", stc.translate_recordings(model, [given.recording], given.lang, max_new_tokens=48)[0])

stc.remove_layers(model, given.remove)
stc.save_model(model, given.out / "pruned")
stc.quantize_model(given.out / "pruned", given.out / "pruned-nf4")

small = stc.load_model(given.out / "pruned-nf4")
print("after: ", stc.translate_recordings(small, [given.recording], given.lang, max_new_tokens=48)[0])

for folder in (given.model, given.out / "pruned", given.out / "pruned-nf4"):
    size = stc.model_size(folder)
    print(f"{folder}: {size.decoder_layers} layers, {size.parameters:,} parameters, {size.bytes_on_disk:,} bytes")
