"""Judgements as filters of templates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import isgeneratorfunction
from typing import Any


def named(judges: Mapping[str, Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    """Filters by their names; what a generator finds is a list, so that templates can count it."""

    def listed(judge: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *values, **about: list(judge(*values, **about))

    return {
        name: listed(judge) if isgeneratorfunction(judge) else judge
        for name, judge in judges.items()
    }
