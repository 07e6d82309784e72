"""``python -m stc.pull`` against a stand-in for the hub, by the real clients: afterwards a run needs no network."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hub_server import HubServer, served
from processes import until

from stc.system.paths import ROOT

datasets = pytest.importorskip("datasets")

WEIGHTS = "model.safetensors"
MODEL = ["model.path=owner/base", "model.decoder_layers=16", "model.encoder_layers=6", "prune.ratio=0.25"]
DATA = ["data=fleurs", "lang=de"]
FULL_DISK = """
import runpy, shutil, sys
from types import SimpleNamespace
shutil.disk_usage = lambda folder: SimpleNamespace(free=10_000_000)
runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""


def table(text: str, count: int, first: int) -> bytes:
    """A Parquet file with the columns of FLEURS."""
    numbers = range(first, first + count)
    sound = io.BytesIO()
    soundfile.write(sound, 0.1 * np.ones(4000), 16_000, format="WAV")
    audio = [{"bytes": sound.getvalue(), "path": f"{number}.wav"} for number in numbers]
    columns = {"audio": audio, "id": list(numbers), "raw_transcription": [f"{text} {number}" for number in numbers]}
    content = io.BytesIO()
    datasets.Dataset.from_dict(columns).cast_column("audio", datasets.Audio(sampling_rate=16_000)).to_parquet(content)
    return content.getvalue()


@pytest.fixture(scope="module")
def speech() -> dict[str, bytes]:
    """FLEURS in three languages, as the hub has it."""
    splits = {"train": (3, 0), "validation": (103, 10), "test": (3, 500)}
    texts = {"en_us": "English", "de_de": "Deutsch", "fr_fr": "Français"}
    files = {
        f"{name}/{split}-0.parquet": table(text, *rows)
        for name, text in texts.items()
        for split, rows in splits.items()
    }
    configs = "".join(
        f"- config_name: {name}\n  data_files:\n"
        + "".join(f"  - split: {split}\n    path: {name}/{split}-*.parquet\n" for split in splits)
        for name in texts
    )
    return {**files, "README.md": f"---\nconfigs:\n{configs}---\n".encode()}


@pytest.fixture
def hub(speech: dict[str, bytes]) -> Iterator[HubServer]:
    base = {file.name: file.read_bytes() for file in (ROOT / "assets" / "base").iterdir() if file.is_file()}
    comet = {"hparams.yaml": b"pretrained_model: owner/encoder\n", "checkpoints/model.ckpt": bytes(5000)}
    encoder = {"config.json": b"{}", "tokenizer.json": b"{ }", WEIGHTS: bytes(5000)}
    repositories = {"base": base, "comet": comet, "encoder": encoder, "secret": {"config.json": b"{}"}}
    with served(
        {"datasets/google/fleurs": speech, **{f"models/owner/{name}": one for name, one in repositories.items()}}
    ) as hub:
        hub.gated |= {"models/owner/secret", "datasets/owner/secret"}
        yield hub
        hub.go_on.set()


class Machine:
    """A machine with an empty cache, and the network that ``hub`` is in."""

    def __init__(self, home: Path, hub: HubServer) -> None:
        self._home = home
        self._hub = hub

    def start(self, *arguments: str, network: bool = True, code: str = "") -> subprocess.Popen[str]:
        """Start a module with its arguments. ``code`` replaces the way it is started."""
        endpoint = self._hub.endpoint if network else "http://127.0.0.1:9"
        environment = {
            **os.environ, "PYTHONPATH": str(ROOT), "HF_HOME": str(self._home / "hf"), "HF_ENDPOINT": endpoint,
            "HF_HUB_OFFLINE": "0" if network else "1", "NO_PROXY": "127.0.0.1", "CUDA_VISIBLE_DEVICES": "",
        }  # fmt: skip
        environment = {name: value for name, value in environment.items() if name not in ("HF_HUB_CACHE",)}
        begin = [sys.executable, "-c", code] if code else [sys.executable, "-m"]
        folder = self._home / "work"
        folder.mkdir(exist_ok=True)
        return subprocess.Popen(
            [*begin, *arguments], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def ran(self, *arguments: str, network: bool = True, code: str = "") -> tuple[int, str]:
        """Return the exit code of a command, and what it said."""
        process = self.start(*arguments, network=network, code=code)
        out, errors = process.communicate()
        return process.returncode, out + errors

    def complete(self) -> list[Path]:
        """Return the files that are in the cache of the hub."""
        return list((self._home / "hf").glob("hub/models--*/snapshots/*/*"))


@pytest.fixture
def machine(tmp_path: Path, hub: HubServer) -> Machine:
    return Machine(tmp_path, hub)


def test_after_a_pull_a_run_needs_no_network_and_another_pull_downloads_nothing(
    machine: Machine, hub: HubServer
) -> None:
    code, said = machine.ran("stc.pull", *MODEL, *DATA)
    assert code == 0, said
    assert all(hub.commit(one) in said for one in ("models/owner/base", "datasets/google/fleurs"))
    sent = {path for path, _ in hub.sent}
    assert WEIGHTS in sent
    assert {path.partition("/")[0] for path in sent if path.endswith(".parquet")} == {"en_us", "de_de"}
    code, said = machine.ran("stc.run", "plan=true", *MODEL, *DATA, network=False)
    assert code == 0, said
    assert "download" not in said
    hub.sent.clear()
    code, said = machine.ran("stc.pull", *MODEL, *DATA)
    assert (code, [path for path, _ in hub.sent if path.endswith((".parquet", ".safetensors"))]) == (0, [])


def test_a_dry_run_says_the_sizes_and_downloads_no_weights(machine: Machine, hub: HubServer) -> None:
    for option in ("--dry-run", "plan=true"):
        code, said = machine.ran("stc.pull", option, *MODEL)
        assert code == 0, said
        assert "owner/base" in said
        assert "23.0 MB" in said
    assert WEIGHTS not in {path for path, _ in hub.sent}


def test_a_download_that_breaks_off_goes_on_where_it_was(machine: Machine, hub: HubServer) -> None:
    hub.breaks[WEIGHTS] = 15_000_000
    hub.go_on.set()
    code, said = machine.ran("stc.pull", *MODEL)
    assert code == 0, said
    assert [start > 0 for path, start in hub.sent if path == WEIGHTS] == [False, True]


def test_after_a_kill_the_files_that_were_complete_are_not_downloaded_again(machine: Machine, hub: HubServer) -> None:
    hub.breaks[WEIGHTS] = 15_000_000
    process = machine.start("stc.pull", *MODEL)
    until(lambda: len({path for path, _ in hub.sent}) == 8, "all other files")
    until(lambda: len(machine.complete()) == 7, "all other files, complete")
    process.kill()
    process.communicate()
    hub.sent.clear()
    code, said = machine.ran("stc.pull", *MODEL)
    assert code == 0, said
    assert {path for path, _ in hub.sent} == {WEIGHTS, "config.json"}  # the config is looked at before anything else


def test_a_file_with_a_wrong_checksum_is_named_and_fetched_again(machine: Machine, hub: HubServer) -> None:
    hub.damaged.add(WEIGHTS)
    code, said = machine.ran("stc.pull", *MODEL)
    assert code == 1
    assert WEIGHTS in said
    assert "checksum" in said
    hub.damaged.clear()
    code, said = machine.ran("stc.pull", *MODEL)
    assert code == 0, said


def test_without_room_nothing_is_downloaded(machine: Machine, hub: HubServer) -> None:
    code, said = machine.ran("stc.pull", *MODEL, code=FULL_DISK)
    assert code == 1
    assert "HF_HOME" in said
    assert WEIGHTS not in {path for path, _ in hub.sent}


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (["model.path=owner/secret"], "hf auth login"),
        (["model.path=owner/nobody"], "knows no such model"),
        (["data.source.dataset=owner/secret"], "gated"),
        (["data.source.dataset=owner/nobody"], "owner/nobody"),
        ([f"data.source.revision={'0' * 40}"], "0" * 40),
        (["data.source.streaming=true"], "streaming=false"),
    ],
)
def test_what_cannot_be_had_is_named_and_nothing_is_downloaded(
    settings: list[str], told: str, machine: Machine, hub: HubServer
) -> None:
    code, said = machine.ran("stc.pull", *MODEL, *DATA, *settings)
    assert code in (1, 2), said
    assert told in said
    assert "Traceback" not in said
    assert not {path for path, _ in hub.sent if path.endswith((".parquet", ".safetensors"))}


def test_without_network_a_pull_and_the_doctor_name_what_is_missing(machine: Machine) -> None:
    code, said = machine.ran("stc.pull", *MODEL, network=False)
    assert code == 1
    assert "owner/base" in said
    code, said = machine.ran("stc.doctor", *MODEL, network=False)
    assert code == 1
    [line] = [line for line in said.splitlines() if line.startswith("FAIL")]
    assert "owner/base" in line
    assert "stc.pull" in line


@pytest.fixture
def comet(tmp_path: Path) -> list[str]:
    """Settings for a checkpoint of the hub, with a program that stands in for COMET's environment."""
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 0\n")
    python.chmod(0o755)
    return ["metrics=comet", "metrics.comet.checkpoint=owner/comet", f"metrics.comet.python={python}"]


def test_a_metric_gets_its_checkpoint_and_the_tokenizer_of_its_encoder(
    machine: Machine, hub: HubServer, comet: list[str]
) -> None:
    code, said = machine.ran("stc.pull", *comet)
    assert code == 0, said
    assert {path for path, _ in hub.sent} == {"hparams.yaml", "checkpoints/model.ckpt", "config.json", "tokenizer.json"}


@pytest.mark.parametrize("network", [True, False])
def test_a_metric_that_is_half_here_stops_a_run_before_it_starts_unless_the_hub_gives_it(
    machine: Machine, comet: list[str], network: bool
) -> None:
    machine.ran("stc.doctor", *comet)  # asks for hparams.yaml, and for nothing else
    code, said = machine.ran("stc.doctor", *comet, network=False)
    assert (code, "FAIL  offline            metric comet owner/comet" in said) == (1, True), said
    code, said = machine.ran("stc.run", *comet, "pipeline.outputs=[test]", "tracking=none", network=network)
    assert (code, "owner/comet" in said) == ((0, False) if network else (2, True)), said
    assert "Traceback" not in said


def test_what_ships_needs_nothing_of_the_hub(machine: Machine) -> None:
    code, said = machine.ran("stc.pull", network=False)
    assert code == 0, said
    assert "nothing" in said
