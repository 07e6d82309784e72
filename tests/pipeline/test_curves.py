"""Curves are stored point by point, survive a crash, and are still reported."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from stc.pipeline.logged_curves import read_journal, with_journal
from stc.pipeline.stage import Context


def test_what_is_logged_by_step_is_a_curve_and_the_rest_is_not(ctx: Context) -> None:
    log = with_journal(ctx).log
    log({"loss": 2.0, "rate": 0.1}, step=10)
    log({"loss": 1.5}, step=20)
    log({"share": 1.0})
    assert read_journal(ctx.scratch) == {"loss": [[10, 2.0], [20, 1.5]], "rate": [[10, 0.1]]}


def test_metrics_are_still_reported(ctx: Context) -> None:
    heard: list[Any] = []
    log = with_journal(replace(ctx, log=lambda metrics, step=None: heard.append((metrics, step)))).log
    log({"loss": 2.0}, step=10)
    log({"share": 1.0})
    assert heard == [({"loss": 2.0}, 10), ({"share": 1.0}, None)]


def test_steps_repeated_after_a_crash_count_once(ctx: Context) -> None:
    with_journal(ctx).log({"loss": 2.0}, step=10)
    with_journal(ctx).log({"loss": 1.0}, step=20)
    with (ctx.scratch / "curves.jsonl").open("a") as file:
        file.write('{"step": 30, "lo')
    with_journal(ctx).log({"loss": 1.1}, step=20)
    assert read_journal(ctx.scratch) == {"loss": [[10, 2.0], [20, 1.1]]}


@pytest.mark.parametrize("line", ["[1, 2]", '{"loss": 1.0}', '{"step": 20, "loss": "low"}', "\x00", "[" * 10_000])
def test_damaged_line_is_ignored(line: str, ctx: Context) -> None:
    with_journal(ctx).log({"loss": 2.0}, step=10)
    with (ctx.scratch / "curves.jsonl").open("a") as file:
        file.write(f"\n{line}")
    assert read_journal(ctx.scratch) == {"loss": [[10, 2.0]]}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_value_that_is_not_finite_is_left_out(value: float, ctx: Context) -> None:
    with_journal(ctx).log({"loss": value, "rate": 1.0}, step=1)
    assert read_journal(ctx.scratch) == {"rate": [[1, 1.0]]}


def test_stage_that_logs_nothing_has_no_curves(ctx: Context) -> None:
    assert read_journal(ctx.scratch) == {}
