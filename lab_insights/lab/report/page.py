"""The page: one HTML document with its style and its charts in it; no script, no font, no picture from elsewhere."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from lab_insights.lab.report import charts, text
from lab_insights.lab.report.model import Report

if TYPE_CHECKING:
    from jinja2 import Template


def render(report: Report) -> str:
    """Return the page as HTML, below one megabyte; times are those of the report's zone."""
    drawn = {
        (section.id, place): charts.svg(figure, f"{section.id}-{place}")
        for section in report.sections
        for place, figure in enumerate(section.figures)
    }
    made_at = report.made_at.astimezone(ZoneInfo(report.zone))
    return _template().render(
        report=report,
        drawn=drawn,
        day=f"{report.day:%A}, {report.day.day} {report.day:%B %Y}",
        is_over=made_at.date() > report.day,
        made_at=f"{made_at.day} {made_at:%B %Y, %H:%M}",
        numeric={"count", "share", "per 10,000", "minutes", "hours"},
    )


@functools.cache
def _template() -> Template:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(written=text.written)
    environment.globals.update(change=text.change)
    return environment.get_template("page.html.j2")
