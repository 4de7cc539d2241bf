"""The one shape of what every benchmark finds: results, which are whatever was measured, and goals, each with what was measured of it."""

from __future__ import annotations

from typing import Any, TypedDict

Result = dict[str, Any]


class Goal(TypedDict):
    """What was aimed at: `goal` in words, `measured` in the same unit, and whether it was `met`."""

    name: str
    goal: str
    measured: str
    met: bool


class Findings(TypedDict):
    """What a benchmark returns."""

    results: list[Result]
    goals: list[Goal]


def goal(name: str, aim: str, measured: str, *, met: bool) -> Goal:
    """Return a goal with what was measured of it; a missed one says in `measured` why."""
    return Goal(name=name, goal=aim, measured=measured, met=met)


def lines(found: Findings) -> list[str]:
    """Return findings for a person: a line for each result and each goal."""
    results = ["  ".join(f"{key}={value}" for key, value in result.items()) for result in found["results"]]
    return results + [
        f"{'met   ' if each['met'] else 'MISSED'} {each['name']}: {each['goal']}; {each['measured']}" for each in found["goals"]
    ]
