"""Score translations with COMET: a program for the Python of COMET's own environment, which has no stc.

It loads the checkpoint that its argument names, prints a JSON object about it, and then answers each line of standard
input, a JSON list of ``{"src", "mt", "ref"}``, with a line: the JSON list of their scores.
"""

import contextlib
import hashlib
import json
import os
import sys
import warnings
from importlib.metadata import version


def main(checkpoint: str, batch_size: int) -> None:
    # COMET and its libraries print; standard output is for answers only.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    import torch
    from comet import download_model, load_from_checkpoint

    path = checkpoint if os.path.exists(checkpoint) else download_model(checkpoint)
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    model = load_from_checkpoint(path)
    # As the library's own command, comet-score, does: scores are published so.
    torch.set_float32_matmul_precision("high")
    model.eval().half()
    about = {"version": version("unbabel-comet"), "sha256": digest, "references": bool(model.requires_references())}
    about["precision"] = "float16"
    print(json.dumps(about), file=answers, flush=True)
    for line in sys.stdin:
        with contextlib.redirect_stdout(sys.stderr):
            found = model.predict(
                json.loads(line),
                batch_size=batch_size,
                gpus=int(torch.cuda.is_available()),
                progress_bar=False,
                num_workers=0,  # worker processes would inherit standard input
            )
        print(json.dumps([float(score) for score in found["scores"]]), file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
