"""The processor of a model folder, and the prompt that its chat template makes.

A template is a program in a file that somebody else wrote: it may raise, never end, or say nothing of the audio.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from stc.errors import ModelError
from stc.system.read_files import MEBIBYTE, read_json, read_text

if TYPE_CHECKING:
    from stc.models.architecture import Architecture

PROCESSOR_FILE = "processor_config.json"
EXTRACTOR_FILE = "preprocessor_config.json"
"""What holds the settings of the feature extractor where :data:`PROCESSOR_FILE` does not: transformers 4 writes it."""
TEMPLATE_FILE = "chat_template.jinja"
TEMPLATE_FILES = ("chat_template.json", TEMPLATE_FILE)  # in the order in which transformers looks for them
SECONDS = 2.0
"""Of computing, after which a template is taken for one that never ends. The published one takes 0.03 s."""
CHARACTERS = 100_000  # of a prompt, at most


def template_file(folder: Path) -> Path | None:
    """The file that transformers takes a folder's chat template from; None where the folder has no template.

    Raises:
        ModelError: the processor's file is damaged.
    """
    try:
        config = read_json(folder / PROCESSOR_FILE, dict[str, Any], error=ModelError)
    except FileNotFoundError:
        config = {}
    if config.get("chat_template"):
        return folder / PROCESSOR_FILE
    return next((folder / name for name in TEMPLATE_FILES if (folder / name).exists()), None)


def load_processor(folder: Path, family: Architecture) -> Any:
    """Load a folder's processor. Where the folder has no chat template, the processor gets that of the family.

    Raises:
        ModelError: the processor is missing or damaged.
    """
    from transformers import AutoProcessor

    file = template_file(folder)
    own = file is not None and read_text(file, limit=MEBIBYTE, error=ModelError)  # transformers would wait for a pipe
    try:
        processor = AutoProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # transformers raises many kinds for a file that is not what it should be
        raise ModelError(f"{folder} has no usable processor: {error}") from error
    if not own:
        processor.chat_template = family.chat_template
    return processor


def render(processor: Any, conversation: Sequence[dict[str, Any]], where: str) -> str:
    """Return a conversation as the processor's chat template puts it, up to where the answer starts.

    Args:
        where: the template's file, for messages.

    Raises:
        ModelError: the template is not valid, raises, does not end, or makes a prompt that is far too long.
    """
    try:
        with _limited(SECONDS):
            text: str = processor.apply_chat_template(conversation, tokenize=False, add_generation_prompt=True)
    except TimeoutError:
        raise ModelError(f"{where} does not end: it was stopped after {SECONDS:g} s of computing") from None
    except Exception as error:  # a template raises whatever it likes
        raise ModelError(f"{where} cannot be rendered: {type(error).__name__}: {error}") from error
    if len(text) > CHARACTERS:
        raise ModelError(f"{where} makes a prompt of {len(text):,} characters; {CHARACTERS:,} is the most")
    return text


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """Inside, Python code is stopped with TimeoutError once this thread has computed for so long.

    A template is compiled to Python, so its loops are seen by a trace function. A signal would reach the main thread
    only.
    """
    end = time.thread_time() + seconds

    def watch(frame: FrameType, event: str, argument: Any) -> Any:
        if time.thread_time() > end:
            raise TimeoutError
        return watch

    before = sys.gettrace()
    sys.settrace(watch)
    try:
        yield
    finally:
        sys.settrace(before)
