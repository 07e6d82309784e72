"""The hand-in in the form of WMT26's model compression task: a folder that sets itself up, and translates by itself.

The task's input is text. How a speech model would get its audio is not specified; here, the input names an audio file a
line. What made hand-ins fail at the organisers is avoided: nothing is downloaded but packages of fixed versions, into
an environment of the folder's own; the scripts have no path of a machine and no one version of Python in them; and no
share of a GPU's memory is reserved.
"""

from __future__ import annotations

import json
import platform
import shutil
from importlib.metadata import version
from pathlib import Path

from stc.errors import InputError
from stc.export import export
from stc.models.folder import ModelFolder
from stc.submit import wmt_translate
from stc.submit.system import SubmittedSystem, storage_bytes
from stc.system.language_tags import WITHOUT_SPACES, primary_language, script
from stc.verification import plain_transformers
from stc.verification.independent import loading_settings

MODEL = Path("workdir/model")
PACKAGES = (
    "torch", "transformers", "accelerate", "huggingface-hub", "jinja2", "numpy", "safetensors", "scipy", "soundfile",
    "tokenizers",
)  # fmt: skip

SETUP = """\
#!/usr/bin/env bash
# Makes .venv in this folder and installs requirements.txt into it. It needs uv, or python3 with the module venv; it
# downloads nothing else, writes nowhere else, and begins anew if it is run again.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
rm -rf "$here/.venv"
if command -v uv >/dev/null 2>&1; then
    uv venv --python '>=3.11,<3.14' "$here/.venv"
    uv pip install --python "$here/.venv/bin/python" -r "$here/requirements.txt"
else
    python3 -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' ||
        { echo "setup.sh needs uv, or Python 3.11 to 3.13" >&2; exit 1; }
    python3 -m venv "$here/.venv" || { echo "setup.sh needs uv, or the package python3-venv" >&2; exit 1; }
    "$here/.venv/bin/python" -m pip install -r "$here/requirements.txt"
fi
[ -f "${MODEL_DIR:-$here/workdir/model}/config.json" ] || { echo "setup.sh: there is no model" >&2; exit 1; }
"""

RUN = """\
#!/usr/bin/env bash
# run.sh --lang-pair PAIR --batch-size N --input FILE --output FILE; README.md says more.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export HF_HUB_OFFLINE=1 PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True
exec "$here/.venv/bin/python" -E -s "$here/translate.py" --model "${MODEL_DIR:-$here/workdir/model}" "$@"
"""


def write(run: Path, out: Path, system: SubmittedSystem, *, data: Path | None, device: str) -> str:
    """Write a hand-in into a new or an empty folder.

    Args:
        run: the folder of the run that the system is of.
        data: as :func:`stc.export.export` takes it.
        device: where the proof of the export runs, ``cpu`` or ``cuda``.

    Returns:
        the language pair, as ``--lang-pair`` takes it.

    Raises:
        InputError: the model needs something of stc, or there is no utterance to prove it by.
        StcError: the exported model translates in another way than the original.
    """
    quantizer = ModelFolder.of(system.source.folder).quantizer
    if quantizer and (quantizer.IMPORT_BEFORE_LOADING or "").split(".")[0] == "stc":
        raise InputError(f"{system.source.folder} cannot be loaded without stc: {quantizer.IMPORT_BEFORE_LOADING}")
    building = out.parent / f".{out.name}.part"
    shutil.rmtree(building, ignore_errors=True)
    try:
        exported = export(run, building / MODEL, system=system.name, data=data, name=out.name, device=device)
        model = ModelFolder.of(exported.folder)
        packages = [*PACKAGES, *([quantizer.LIBRARY] if quantizer else []), *(["peft"] if model.adapter else [])]
        pair = "-".join(_codes(tag)[1] for tag in (system.task.source_lang, system.task.target_lang))
        settings = {
            **loading_settings([model], system.task, system.settings),
            "lang_pair": pair,
            "source": _codes(system.task.source_lang),
            "target": _codes(system.task.target_lang),
            "between": "" if script(system.task.target_lang) in WITHOUT_SPACES else " ",
        }
        texts = {
            "setup.sh": SETUP,
            "run.sh": RUN,
            # A build for one kind of machine, as in 2.13.0+cpu, is not on PyPI.
            "requirements.txt": "".join(f"{name}=={version(name).split('+')[0]}\n" for name in sorted(packages)),
            "translate.json": json.dumps(settings, indent=1, ensure_ascii=False) + "\n",
            "README.md": _readme(out.name, system, pair, storage_bytes(model)),
        }
        for name, text in texts.items():
            (building / name).write_text(text, encoding="utf-8", newline="\n")
        for name in ("setup.sh", "run.sh"):
            (building / name).chmod(0o755)
        shutil.copyfile(wmt_translate.__file__, building / "translate.py")
        shutil.copyfile(plain_transformers.__file__, building / "plain_transformers.py")
        if out.is_dir():
            out.rmdir()
        building.rename(out)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return pair


def _codes(tag: str) -> list[str]:
    """Return the codes of a language in ISO 639-1 and 639-3: ``de`` and ``deu``."""
    from langcodes import Language

    code = primary_language(tag)
    return [code, Language.get(code).to_alpha3()]


def _readme(name: str, system: SubmittedSystem, pair: str, size: int) -> str:
    techniques = "\n".join(f"{number}. {one}" for number, one in enumerate(system.techniques, start=1))
    memory = removed = ""
    if system.rules.removes_something:
        removed = " Texts are as the model says them: the rules by which the run edited them are not applied."
    if (found := system.history.measurement) is not None:
        memory = (
            f" When it was measured with stc on {found.device}, it took {found.peak_memory_bytes:,} bytes of memory at "
            f"most for one recording at a time, and {found.peak_memory_batched_bytes:,} for {found.decode_batch}."
        )
    return f"""\
# {name}

A compressed model that translates speech. It needs no network once it is set up.

```bash
bash setup.sh
bash run.sh --lang-pair {pair} --batch-size 8 --input input.txt --output output.txt
```

- **Input**: an audio file a line (wav, flac, ogg, mp3), by an absolute path or one relative to the folder of the input.
- **Output**: one line for each, in the same order. Messages go to standard error. A recording longer than the model's
  window is cut into equal parts.{removed}
- **Setup**: `setup.sh` makes `.venv` in this folder from the fixed versions of `requirements.txt`, by uv or else by
  python3 with its module venv (3.11 to 3.13; tried with {platform.python_version()}).
- **Model**: `workdir/model`, or the folder that the environment variable MODEL_DIR names.
- **Memory**: no share of a GPU is reserved. A batch that does not fit is halved.{memory}

## Size

{size} bytes on disk, {system.size.bytes_on_disk} of them weights; {system.size.parameters} parameters, where a packed
weight counts as the parameters that it stands for; {system.size.packed_elements} stored elements.

## How it was made

{techniques}

Data: {", ".join(system.datasets)}. `workdir/model/README.md` is the model's card.
"""
