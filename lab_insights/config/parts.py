"""What both halves of the file are made of: a section that refuses unknown keys, references to secrets, and time zones."""

from __future__ import annotations

from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Reference = Annotated[str, Field(pattern=r"^(env|secret):\S+$", description="`env:NAME` or `secret:NAME` of Secrets Manager.")]


class Section(BaseModel):
    """A part of the file; unknown keys are refused, because a misspelt limit is not a limit."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, OSError, ValueError):  # unknown; a directory of zones; a path
        raise ValueError("not an IANA time zone such as America/New_York") from None
    return name


Zone = Annotated[str, AfterValidator(_zone)]
