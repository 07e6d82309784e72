"""What fields of several schemas have in common: a list that names each thing once, a seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, TypeVar

from pydantic import AfterValidator, Field

Listed = TypeVar("Listed", bound=Sequence[object])


def _each_once(listed: Listed) -> Listed:
    twice = [str(one) for one, times in Counter(listed).items() if times > 1]
    if twice:
        raise ValueError(f"must name each once, and has {', '.join(twice)} more than once")
    return listed


EachOnce = AfterValidator(_each_once)
"""Of a list or tuple: nothing is in it twice."""

Seed = Annotated[int, Field(ge=0, lt=2**32, strict=True)]
