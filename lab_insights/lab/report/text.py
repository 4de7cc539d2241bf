"""How values are written: counts, rates, durations and changes."""

from __future__ import annotations

from datetime import date
from typing import Any

from lab_insights.lab.report.model import Hidden, Kind, Measured, Share, Tile

NONE, SMALL = "–", "under 11"


def written(value: Any, kind: Kind) -> str:
    """Return a value as the page shows it."""
    plain = number(value)
    if isinstance(value, Hidden):
        return SMALL
    if kind == "text":
        return NONE if value is None else str(value)
    if kind == "day":
        return day_text(value)
    if plain is None:
        return NONE
    if kind == "share":
        return f"{plain:.1%}"
    if kind == "per 10,000":
        return f"{plain * 10_000:,.1f}"
    if kind in {"minutes", "hours"}:
        return duration(plain if kind == "minutes" else plain * 60)
    return f"{plain:,.0f}"


def number(value: Any) -> float | None:
    """Return the number of a value, None where there is none to show."""
    if isinstance(value, Share | Measured):
        return value.value
    return float(value) if isinstance(value, int | float) else None


def duration(minutes: float) -> str:
    """Return minutes as people say them."""
    whole = round(minutes)
    if whole < 60:
        return f"{whole} min"
    hours, rest = divmod(whole, 60)
    if hours < 48:
        return f"{hours} h {rest:02d} min" if rest else f"{hours} h"
    return f"{hours / 24:.1f} days"


def day_text(day: date) -> str:
    """Return a day as `Mon 2 Mar`."""
    return f"{day:%a} {day.day} {day:%b}"


def change(tile: Tile) -> tuple[str, str]:
    """Return how a tile changed against the prior period, and whether that is `good`, `bad` or `same`."""
    if isinstance(tile.now, Hidden) or isinstance(tile.before, Hidden):
        return ("change not shown", "same")
    now, before = number(tile.now), number(tile.before)
    if now is None or before is None or (tile.kind == "count" and not before):
        return ("no prior period to compare", "same")
    moved = now - before
    if tile.kind == "count":
        size = f"{abs(moved) / before:.0%}"
    elif tile.kind == "share":
        size = f"{abs(moved) * 100:.1f} points"
    elif tile.kind == "per 10,000":
        size = f"{abs(moved) * 10_000:,.1f}"
    else:
        size = duration(abs(moved))
    if not moved or size in {"0%", "0.0 points", "0.0", "0 min"}:
        return ("unchanged", "same")
    way = "up" if moved > 0 else "down"
    return (f"{'▲' if moved > 0 else '▼'} {way} {size}", "same" if tile.better is None else "good" if way == tile.better else "bad")
