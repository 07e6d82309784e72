"""A prompt comes from the folder's own chat template, or from the family's; one that makes none is refused by name."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from stc.data.manifest import Manifest
from stc.decoding.hypotheses import TranslationSettings
from stc.doctor import main as doctor
from stc.errors import ModelError
from stc.models import architecture, prompts
from stc.models.language_pair import Task
from stc.models.load_and_save import load, save
from stc.models.prompts import load_processor
from stc.verification.independent import independent_translations

GERMAN = Task(target_lang="de", target_name="German")
FAMILY = architecture("qwen2_audio")
AUDIO = "<|audio_bos|><|AUDIO|><|audio_eos|>"
PUBLISHED = (
    "<|im_start|>system\nYou are a professional translator.<|im_end|>\n"
    f"<|im_start|>user\nAudio 1: {AUDIO}\nTranslate the English speech into German:<|im_end|>\n"
    "<|im_start|>assistant\n"
)
# What looked for the audio before transformers 4.53, and what does today.
SPELLINGS = ["'audio' in piece or 'audio_url' in piece or message['type'] == 'audio'", "piece['type'] == 'audio'"]
TURNS = (
    "{%% for message in messages %%}{%% if message['content'] is string %%}{{ message['content'] }}{%% else %%}"
    "{%% for piece in message['content'] %%}{%% if %s %%}<|audio_bos|><|AUDIO|><|audio_eos|>"
    "{%% elif 'text' in piece %%}{{ piece['text'] }}{%% endif %%}{%% endfor %%}{%% endif %%}{%% endfor %%}"
)
ENDLESS = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"


@pytest.fixture
def folder(tiny_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def prompt_of(folder: Path) -> str:
    return FAMILY.prompt(load_processor(folder, FAMILY), GERMAN, folder)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_audio_has_its_place_under_both_spellings(folder: Path, spelling: str) -> None:
    (folder / "chat_template.jinja").write_text(TURNS % spelling)
    assert prompt_of(folder).endswith(f"translator.{AUDIO}Translate the English speech into German:")


def test_template_of_older_transformers_in_json_is_the_folder_s_own(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": TURNS % SPELLINGS[0]}))
    assert prompt_of(folder).startswith("You are a professional translator.<|audio_bos|>")


def test_folder_without_template_gets_the_published_conversation(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("")
    assert prompt_of(folder) == PUBLISHED
    (folder / "chat_template.jinja").unlink()
    assert prompt_of(folder) == PUBLISHED


def test_published_conversation_is_what_transformers_makes_of_such_a_folder(folder: Path) -> None:
    from transformers import AutoProcessor

    (folder / "chat_template.jinja").unlink()
    plain = AutoProcessor.from_pretrained(folder)
    assert plain.apply_chat_template(FAMILY.conversation(GERMAN), add_generation_prompt=True) == PUBLISHED


def test_template_that_a_folder_lacked_is_saved_with_the_model(folder: Path, tmp_path: Path) -> None:
    (folder / "chat_template.jinja").unlink()
    save(load(folder, device="cpu", dtype="float32"), tmp_path / "saved")
    assert (tmp_path / "saved" / "chat_template.jinja").read_text("utf-8") == FAMILY.chat_template


@pytest.mark.parametrize("own", [True, False])
def test_independent_check_of_a_folder_without_template_gets_that_of_the_family(
    folder: Path, tiny_manifest: Path, monkeypatch: pytest.MonkeyPatch, own: bool
) -> None:
    asked: dict[str, Any] = {}

    def answer(what: str, arguments: list[str], request: dict[str, Any], **environment: str) -> list[list[str]]:
        asked.update(request)
        return [["text"]]

    monkeypatch.setattr("stc.verification.independent.run_json", answer)
    if not own:
        (folder / "chat_template.jinja").unlink()
    settings = TranslationSettings(dtype="float32", max_new_tokens=8)
    independent_translations([(folder, None)], Manifest.load(tiny_manifest), settings, "cpu")
    assert asked["chat_template"] == (None if own else FAMILY.chat_template)


@pytest.mark.parametrize(
    ("template", "named"),
    [
        ("{{ ''.__class__.__mro__ }}", "SecurityError"),
        ("{{ raise_exception('only text') }}", "only text"),
        ("{% if %}", "TemplateSyntaxError"),
        (TURNS % "message['type'] == 'audio'", "no place for the audio"),
        (TURNS.replace("<|AUDIO|>", "<|AUDIO|><|AUDIO|>") % SPELLINGS[0], "2 places for the audio"),
        ("<|AUDIO|>{{ messages[0].content }}", "without the request 'Translate the English speech into German:'"),
        ("{{ 'a' * 200000 }}", "200,000 characters"),
        (" ", "no place for the audio"),
    ],
)
def test_unusable_template_is_refused_with_its_file(folder: Path, template: str, named: str) -> None:
    (folder / "chat_template.jinja").write_text(template)
    with pytest.raises(ModelError) as caught:
        prompt_of(folder)
    assert str(folder / "chat_template.jinja") in str(caught.value)
    assert named in str(caught.value)


@pytest.mark.parametrize("template", [ENDLESS, "{{ lipsum(n=10**9) }}"])
def test_template_that_does_not_end_is_stopped(folder: Path, template: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompts, "TIME_LIMIT", 0.2)
    (folder / "chat_template.jinja").write_text(template)
    with pytest.raises(ModelError, match=r"chat_template\.jinja does not end"):
        prompt_of(folder)


def test_template_that_is_a_pipe_is_not_waited_for(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()
    os.mkfifo(folder / "chat_template.jinja")
    with pytest.raises(ModelError, match=r"chat_template\.jinja is a pipe"):
        prompt_of(folder)


@pytest.mark.parametrize("content", ["{", '{"other": 1}'])
def test_damaged_template_in_json_is_refused(folder: Path, content: str) -> None:
    (folder / "chat_template.json").write_text(content)
    with pytest.raises(ModelError, match="no usable processor"):
        prompt_of(folder)


@pytest.mark.parametrize("setting", ["model.path", "stages.teacher.from"])
def test_doctor_renders_a_prompt_of_a_model_that_is_given(
    folder: Path, setting: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for check in ("check_libraries", "check_audio_formats", "check_devices"):
        monkeypatch.setattr(f"stc.planning.machine_checks.{check}", lambda *given: iter([]))
    (folder / "chat_template.jinja").write_text("{% if %}")
    assert doctor([f"{setting}={folder}", "tracking=none"]) == 1
    told = {line.split()[1]: line for line in capsys.readouterr().out.splitlines() if line.startswith("FAIL")}
    assert str(folder / "chat_template.jinja") in told["prompt"]
