"""The injectable clock: what `now` is for windows, ceilings and closed days, so that simulated days need no sleeping."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path


@dataclass(frozen=True)
class Clock:
    """System time, or the instant written in `file` (ISO 8601 with offset), which the simulator moves."""

    file: Path | None = None

    def now(self) -> datetime:
        """Return the current instant in UTC."""
        if self.file is None:
            return datetime.now(UTC)
        return datetime.fromisoformat(self.file.read_text().strip()).astimezone(UTC)

    def set(self, instant: datetime) -> None:
        """Move a simulated clock; a system clock can not be moved."""
        if self.file is None:
            raise ValueError("the system clock can not be moved")
        self.file.parent.mkdir(parents=True, exist_ok=True)
        # Replaced as a whole: sensors and runs of other processes read it all the time.
        half = self.file.with_name(f"{self.file.name}.{uuid.uuid4().hex}")
        half.write_text(instant.astimezone(UTC).isoformat())
        half.replace(self.file)
