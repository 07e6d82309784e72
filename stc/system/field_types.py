"""Field types that several schemas use: a list without repetitions, a seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, TypeVar

from pydantic import AfterValidator, Field

Listed = TypeVar("Listed", bound=Sequence[object])


def _each_once(listed: Listed) -> Listed:
    twice = [str(one) for one, times in Counter(listed).items() if times > 1]
    if twice:
        raise ValueError(f"must name each only once, but has {', '.join(twice)} more than once")
    return listed


EachOnce = AfterValidator(_each_once)
"""A validator of lists and tuples: no item may be in it twice."""

Seed = Annotated[int, Field(ge=0, lt=2**32, strict=True)]
