"""Whether the windows of a table's raw batches follow each other without a gap."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from lab_insights.findings import Fault
from lab_insights.lake.manifest import Manifest

RELOAD = "materialize raw for the days of the gap with `reload: true`, or today with a full load"


def gaps(batches: Sequence[Manifest | None], *, from_the_beginning: bool) -> dict[str, Fault]:
    """Return the fault of each batch (by object key) before which something was not read.

    `batches` are a table's live ones, by day and batch; None is one whose window is not known. A snapshot covers all up to its end.
    After None, as after older batches that were not given (`from_the_beginning` is false), the next window is believed.
    """
    found: dict[str, Fault] = {}
    covered: datetime | None = None
    trusted = not from_the_beginning
    for manifest in batches:
        if manifest is None:
            covered, trusted = None, True
            continue
        window = manifest.window
        if window is None or (manifest.reconstructed and covered is None and manifest.kind == "delta"):
            continue
        if manifest.kind == "delta" and window.low is not None:
            if covered is None and not trusted:
                found[manifest.object_key] = _broken(f"no snapshot begins this table: nothing up to {_told(window.low)} was read")
            if covered is not None and window.low > covered:
                found[manifest.object_key] = _broken(f"nothing was read between {_told(covered)} and {_told(window.low)}")
        covered = max(covered or window.high, window.high)
    return found


def last_read(batches: Iterable[Manifest]) -> datetime | None:
    """Return the end of the newest window of these batches."""
    return max((manifest.window.high for manifest in batches if manifest.window), default=None)


def _broken(message: str) -> Fault:
    return Fault("broken", message, RELOAD)


def _told(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M:%S}"
