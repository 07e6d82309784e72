"""``python -m stc.export RESULT OUT``: export a finished model as a folder for others."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from stc.system.console import run_command

_DESCRIPTION = """\
Copy a finished model to a folder of its own, write a model card, and prove the folder: a process without stc
translates an utterance with it, and the translation must be that of the original.
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stc.export", description=_DESCRIPTION)
    parser.add_argument("result", type=Path, help="a run's folder (outputs/…), a model or adapter folder, or its id")
    parser.add_argument("out", type=Path, help="a new or an empty folder")
    parser.add_argument("--system", help="which system of a run's table (default: the last, the compressed model)")
    parser.add_argument(
        "--merged",
        action="store_true",
        help="the plain bfloat16 model: what a quantized one was packed from, or base and adapter in one",
    )
    parser.add_argument("--base-model", metavar="NAME", help="the name by which users find the base, such as a hub id")
    parser.add_argument("--license", metavar="ID", dest="license_id", help="the license the card states")
    parser.add_argument("--data", type=Path, help="a manifest folder to take the utterance of the proof from")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="for the proof")
    parser.add_argument("--push-to-hub", metavar="OWNER/NAME", help="also upload the folder to the Hugging Face hub")
    return parser


def main() -> int:
    """Run the command; return 0, or 1 if the export fails."""
    return run_command(lambda: _export(_parser().parse_args()))


def _export(options: argparse.Namespace) -> int:
    from stc.export import export, push
    from stc.system.machine import resolve_device

    exported = export(
        options.result,
        options.out,
        system=options.system,
        merged=options.merged,
        base_model=options.base_model,
        license_id=options.license_id,
        data=options.data,
        name=options.push_to_hub,
        device=resolve_device(options.device),
    )
    proof, card = exported.proof, exported.card
    print(f"{exported.folder}: {card.title}, with its card (README.md)")
    print(f"A fresh process without stc translates {proof.utterance} with it: {proof.text}")
    if proof.is_same:
        print("That is what the original gives.")
    else:
        print(f"The adapter on its base gives another text, as merging rounds to bfloat16: {proof.original}")
    print(card.vllm_statement())
    if options.push_to_hub:
        print(f"uploaded: {push(exported, options.push_to_hub)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
