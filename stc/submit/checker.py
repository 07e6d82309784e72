"""Check a hand-in by the rules of the task's page. Nothing is shared with the code that writes hand-ins.

The rules that are checked, and where they are from:

iwslt2026 (iwslt.org/2026/compression)
    Texts are UTF-8, a sentence a line. The model's name has a given form. The description has the exact storage size,
    the number of parameters, the techniques and, in the unconstrained condition, the data sets; the constrained one
    allows ACL 60/60 only. There are 6 test sets for en-de and 5 for en-zh. It is not on the page that a file has as
    many lines as its test set has segments, and none empty: the organisers align the texts again.

wmt26 (the README, the checking script and the log in the organisers' repository)
    There are four files. ``bash run.sh --lang-pair --batch-size --input --output`` succeeds, and writes a line for each
    line of its input. The model is in ``workdir/model``, or where MODEL_DIR says. Hand-ins failed for versions that
    were not pinned, no environment of their own, paths of one machine, a fixed Python, and models to download.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

NAME = re.compile(
    r"(?P<team>[^_\s]+)_IWSLT26_ModelCompression_(?P<pair>en-de|en-ar|en-zh)_(?P<condition>constrained|unconstrained)"
    r"_(?P<kind>primary|contrastive\d*)"
)
TEST_SETS = {"en-de": 6, "en-zh": 5}
LINE_BREAKS = {
    "\r": "a carriage return", "\v": "a vertical tab", "\f": "a form feed", "\x1c": "U+001C", "\x1d": "U+001D",
    "\x1e": "U+001E", "\x85": "U+0085", "\u2028": "U+2028", "\u2029": "U+2029",
}  # fmt: skip
"""Characters that some programs take for the end of a line, beside the newline itself."""
SCRIPTS = ("setup.sh", "run.sh")
OPTIONS = ("--lang-pair", "--batch-size", "--input", "--output")
TIME_LIMIT = 900  # seconds; the organisers' own
_MOST = 20  # faults of one file that are listed


@dataclass
class Findings:
    """The faults of a hand-in, and notes on what is not wrong and should be known."""

    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def check(folder: Path, data: Mapping[str, Path] | None = None, run_on: Path | None = None) -> Findings:
    """Check a hand-in, of which kind its files tell.

    Args:
        data: of test sets by name, a JSON Lines file, a manifest folder or a YAML list each, to count the segments of.
        run_on: an input to run a wmt26 hand-in on.
    """
    findings = Findings()
    if not folder.is_dir():
        findings.faults.append(f"{folder} is not a folder")
    elif any((folder / name).exists() for name in SCRIPTS):
        _check_wmt(folder, run_on, findings)
    else:
        _check_iwslt(folder, dict(data or {}), findings)
        if run_on is not None:
            findings.notes.append(f"{run_on} is not used: there is nothing to run in this hand-in")
    return findings


def _check_iwslt(folder: Path, data: dict[str, Path], found: Findings) -> None:
    stated = _stated(folder, found)
    if stated is None:
        return
    _check_description(folder, stated, found)
    sets = [one for one in stated.get("test_sets") or [] if isinstance(one, dict)]
    expected = {"description.md", "description.json"}
    for one in sets:
        name, file = str(one.get("name")), str(one.get("file"))
        expected.add(file)
        if file != f"{name}.{stated.get('language_pair')}.txt":
            found.faults.append(f"description.json: the file of test set {name!r} is called {file!r}")
        segments = one.get("lines")
        if name in data:
            segments = _count(data.pop(name), found)
        _check_text(folder / file, segments, one.get("empty_lines") or [], found)
    found.faults += [f"{name}: description.json has no such test set" for name in data]
    found.faults += [
        f"{file.name}: no file of the hand-in is called so" for file in folder.iterdir() if file.name not in expected
    ]
    if not sets:
        found.faults.append("description.json: there are no test_sets")
    wanted = TEST_SETS.get(str(stated.get("language_pair")))
    if wanted and len(sets) != wanted:
        found.notes.append(f"{len(sets)} of the {wanted} test sets of {stated['language_pair']} are there")


def _stated(folder: Path, found: Findings) -> dict[str, Any] | None:
    try:
        stated = json.loads((folder / "description.json").read_bytes().decode("utf-8"))
    except FileNotFoundError:
        found.faults.append("description.json is missing")
    except ValueError as error:
        found.faults.append(f"description.json cannot be read: {error}")
    else:
        if isinstance(stated, dict):
            return stated
        found.faults.append("description.json is no JSON object")
    return None


def _check_description(folder: Path, stated: dict[str, Any], found: Findings) -> None:
    name = str(stated.get("model_name"))
    parts = NAME.fullmatch(name)
    if parts is None:
        found.faults.append(
            f"description.json: model_name {name!r} is not TEAM_IWSLT26_ModelCompression_PAIR_CONDITION_TYPE with a "
            "pair en-de, en-ar or en-zh, constrained or unconstrained, and primary or contrastive"
        )
    elif (parts["pair"], parts["condition"]) != (stated.get("language_pair"), stated.get("condition")):
        found.faults.append(f"description.json: model_name {name!r} contradicts language_pair or condition")
    mandatory = {"storage_bytes": "the exact storage size", "parameters": "the number of parameters"}
    for key, meaning in mandatory.items():
        if type(stated.get(key)) is not int or stated[key] <= 0:
            found.faults.append(f"description.json: {key} is {stated.get(key)!r}: {meaning} is mandatory")
    if not stated.get("techniques"):
        found.faults.append("description.json: techniques are mandatory")
    datasets = [str(one) for one in stated.get("datasets") or []]
    if stated.get("condition") == "unconstrained" and not datasets:
        found.faults.append("description.json: datasets are mandatory in the unconstrained condition")
    if stated.get("condition") == "constrained":
        others = [one for one in datasets if "acl6060" not in re.sub(r"[^a-z0-9]", "", one.lower())]
        found.faults += [f"description.json: constrained allows ACL 60/60 only, not {one}" for one in others]
    try:
        text = (folder / "description.md").read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        found.faults.append(f"description.md cannot be read: {error}")
        return
    for key in ("model_name", *mandatory):
        if not re.search(rf"(?<!\w){re.escape(str(stated.get(key)))}(?!\w)", text):
            found.faults.append(f"description.md does not state {key}, {stated.get(key)}")


def _check_text(file: Path, segments: object, declared_empty: list[int], found: Findings) -> None:
    try:
        content = file.read_bytes()
    except OSError as error:
        found.faults.append(f"{file.name} cannot be read: {error.strerror}")
        return
    if content.startswith(b"\xef\xbb\xbf"):
        found.faults.append(f"{file.name} begins with a byte order mark")
        content = content[3:]
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        found.faults.append(f"{file.name}, line {number}: is not UTF-8 ({error.reason})")
        return
    if not text.endswith("\n"):
        found.faults.append(f"{file.name} does not end with a newline")
    lines = text.removesuffix("\n").split("\n")
    if len(lines) != segments:
        found.faults.append(f"{file.name} has {len(lines)} lines, and its test set {segments} segments")
    wrong = []
    for number, line in enumerate(lines, start=1):
        wrong += [f"{file.name}, line {number}: has {LINE_BREAKS[one]} in it" for one in LINE_BREAKS if one in line]
        if not line.strip():
            message = f"{file.name}, line {number}: is empty"
            (found.notes if number in declared_empty else wrong).append(message)
    found.faults += wrong[:_MOST]
    if len(wrong) > _MOST:
        found.faults.append(f"{file.name} has {len(wrong) - _MOST} more")


def _count(data: Path, found: Findings) -> int | None:
    """Return the number of segments of a manifest folder, of a JSON Lines file or of a YAML list."""
    file = data / "manifest.jsonl" if data.is_dir() else data
    try:
        content = file.read_bytes()
        if file.suffix in (".yaml", ".yml"):
            return len(yaml.safe_load(content))
        rows = [json.loads(line) for line in content.split(b"\n") if line.strip()]
        # Of an utterance that was cut into parts, all parts make one line.
        return len({str(row.get("part_of") or number) for number, row in enumerate(rows)})
    except OSError as error:
        found.faults.append(f"{file} cannot be read: {error.strerror}")
    except (ValueError, TypeError, AttributeError, yaml.YAMLError):
        found.faults.append(f"{file} is not JSON Lines, nor a YAML list")
    return None


def _check_wmt(folder: Path, run_on: Path | None, found: Findings) -> None:
    texts = {}
    for name in (*SCRIPTS, "requirements.txt", "README.md"):
        try:
            texts[name] = (folder / name).read_bytes().decode("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            found.faults.append(f"{name} cannot be read: {error}")
    for name in SCRIPTS:
        if name in texts:
            _check_script(folder / name, texts[name], found)
    if ".venv" not in texts.get("setup.sh", ".venv"):
        found.faults.append("setup.sh makes no environment of its own (.venv)")
    if "run.sh" in texts:
        programs = "".join(file.read_text("utf-8") for file in sorted(folder.glob("*.py"))) + texts["run.sh"]
        # As an argument parser names it, or a case of the shell: --input" or --input)
        untaken = [option for option in OPTIONS if not re.search(rf"{option}[\"')|=]", programs)]
        found.faults += [f"run.sh does not take {option}" for option in untaken]
    for number, line in enumerate(texts.get("requirements.txt", "").splitlines(), start=1):
        required = line.split("#")[0].strip()
        if required and not re.fullmatch(r"[A-Za-z0-9._-]+(\[[\w,-]+\])?==[\w.!]+", required):
            found.faults.append(f"requirements.txt, line {number}: {required!r} is not pinned, as NAME==VERSION")
    model = folder / "workdir/model"
    if model.is_dir():
        if not (model / "config.json").is_file() or not list(model.glob("*.safetensors")):
            found.faults.append("workdir/model has no config.json or no .safetensors: nothing may be left to download")
    elif "MODEL_DIR" in texts.get("run.sh", ""):
        found.notes.append("there is no workdir/model: MODEL_DIR has to name the model")
    else:
        found.faults.append("there is no workdir/model, and run.sh does not take MODEL_DIR")
    if run_on is not None and not run_on.is_file():
        found.faults.append(f"{run_on} is missing, the input to run on")
    elif run_on is not None and not found.faults:
        _run(folder, run_on, found)


def _check_script(script: Path, text: str, found: Findings) -> None:
    parsed = subprocess.run(["bash", "-n", str(script)], capture_output=True, text=True, check=False)
    if parsed.returncode:
        found.faults.append(f"{script.name} is no valid bash: {' '.join(parsed.stderr.split())}")
    for number, line in enumerate(text.splitlines(), start=1):
        if line.lstrip().startswith("#"):
            continue
        if path := re.search(r"(?<![\w}\"$.:/])/(?!dev/null)\w[\w./-]*", line):
            found.faults.append(f"{script.name}, line {number}: {path[0]} is a path of one machine")
        if version := re.search(r"python3?\.\d+", line):
            found.faults.append(f"{script.name}, line {number}: {version[0]} may not be there")


def _run(folder: Path, run_on: Path, found: Findings) -> None:
    """Run a hand-in as the organisers' checking script does."""
    with tempfile.TemporaryDirectory() as temporary:
        output = Path(temporary, "output.txt")
        pair = re.search(r"--lang-pair ([a-zA-Z_-]+)", (folder / "README.md").read_text("utf-8"))
        command = ["bash", str(folder / "run.sh"), "--lang-pair", pair[1] if pair else "eng-deu", "--batch-size", "1"]
        command += ["--input", str(run_on.resolve()), "--output", str(output)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIME_LIMIT, check=False)
        except subprocess.TimeoutExpired:
            found.faults.append(f"run.sh took more than {TIME_LIMIT} s")
            return
        if done.returncode:
            found.faults.append(f"run.sh failed with exit code {done.returncode}: {done.stderr.strip()[-2000:]}")
        elif not output.is_file() or not output.read_bytes():
            found.faults.append("run.sh wrote no output")
        else:
            wrote, given = (file.read_bytes().count(b"\n") for file in (output, run_on))
            if wrote != given:
                found.faults.append(f"run.sh wrote {wrote} lines for {given}")
