"""The processor of a model folder, and the prompt that its chat template makes.

A template is a program in a file that somebody else wrote: it may raise, run forever, or leave out the audio.
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
"""Has the settings of the feature extractor in folders that transformers 4 wrote."""
TEMPLATE_FILE = "chat_template.jinja"
TEMPLATE_FILES = ("chat_template.json", TEMPLATE_FILE)  # in the order in which transformers looks for them
TIME_LIMIT = 2.0
"""Seconds of computing after which a template is stopped. The published one takes 0.03 s."""
MAX_CHARACTERS = 100_000  # of a prompt


def template_file(folder: Path) -> Path | None:
    """Return the file that transformers takes a folder's chat template from; None if the folder has no template.

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
    """Load a folder's processor, with the family's chat template if the folder has none.

    Raises:
        ModelError: the processor is missing or damaged.
    """
    from transformers import AutoProcessor

    file = template_file(folder)
    # Read here first: transformers would wait for a pipe.
    has_template = file is not None and read_text(file, limit=MEBIBYTE, error=ModelError)
    try:
        processor = AutoProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # transformers raises many kinds for a damaged file
        raise ModelError(f"{folder} has no usable processor: {error}") from error
    if not has_template:
        processor.chat_template = family.chat_template
    return processor


def render_template(processor: Any, conversation: Sequence[dict[str, Any]], where: str) -> str:
    """Return a conversation as the processor's chat template writes it, up to where the answer starts.

    Args:
        where: the template's file, for error messages.

    Raises:
        ModelError: the template is invalid, raises, does not end, or makes far too long a prompt.
    """
    try:
        with _time_limit(TIME_LIMIT):
            text: str = processor.apply_chat_template(conversation, tokenize=False, add_generation_prompt=True)
    except TimeoutError:
        raise ModelError(f"{where} does not end: it was stopped after {TIME_LIMIT:g} s of computing") from None
    except Exception as error:  # a template may raise anything
        raise ModelError(f"{where} cannot be rendered: {type(error).__name__}: {error}") from error
    if len(text) > MAX_CHARACTERS:
        raise ModelError(f"{where} makes a prompt of {len(text):,} characters; {MAX_CHARACTERS:,} is the most")
    return text


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in the block's Python code once this thread has computed for so long.

    jinja compiles a template to Python, so a trace function runs in its loops. A signal would reach the main thread
    only.
    """
    end = time.thread_time() + seconds

    def check_time(frame: FrameType, event: str, argument: Any) -> Any:
        if time.thread_time() > end:
            raise TimeoutError
        return check_time

    before = sys.gettrace()
    sys.settrace(check_time)
    try:
        yield
    finally:
        sys.settrace(before)
