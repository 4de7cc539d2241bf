"""Charts: Vega-Lite specifications of figures, drawn as SVG in this process, without a browser and without the network."""

from __future__ import annotations

import functools
import html
import json
import re
from typing import Any

from lab_insights.lab.report.model import Figure
from lab_insights.lab.report.text import number

# Dark enough on white for text (4.5 : 1), and told apart without colour by their dashes and the legend.
COLOURS = ("#1f5fa8", "#a8480f", "#4d5865")
WIDTH, HEIGHT = 400, 190
# As many letters of all names as fit beside each other.
_LEGEND = 40
_CONFIG = {
    "font": "Arial, Helvetica, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "labelColor": "#333",
        "titleColor": "#333",
        "gridColor": "#e4e7eb",
    },
    "legend": {"labelFontSize": 12, "orient": "top", "title": None, "labelColor": "#333", "symbolStrokeWidth": 2, "columnPadding": 26},
    "range": {"category": list(COLOURS)},
    "bar": {"color": COLOURS[0]},
}


def svg(figure: Figure, name: str) -> str:
    """Return the chart of a figure as an SVG element, labelled by its summary; empty where there is nothing to draw. `name` keeps ids apart."""
    drawn = figure.drawn or tuple(column for column in list(figure.columns)[1:])
    values = [value for row in figure.rows for value in _points(figure, row, drawn)]
    if not figure.chart or not any(value["value"] for value in values):
        return ""
    picture = _drawn(json.dumps(_spec(figure, values, drawn)))
    picture = re.sub(r'<text[^>]*opacity="0"[^>]*>.*?</text>', "", picture)
    picture = re.sub(r'(id="|url\(#)(?=\w)', rf"\g<1>{name}-", picture)
    label = html.escape(f"{figure.title}. {figure.summary} The table below holds the figures.")
    return re.sub(
        r'^<svg [^>]*?width="[\d.]+" height="[\d.]+"',
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{label}"',
        picture,
        count=1,
    )


@functools.lru_cache(maxsize=64)
def _drawn(spec: str) -> str:
    """Most charts of the page to share are those of the other one."""
    import vl_convert

    return str(vl_convert.vegalite_to_svg(spec))


def _points(figure: Figure, row: list[Any], drawn: tuple[str, ...]) -> list[dict[str, Any]]:
    axis, *_ = row
    points = []
    for column in drawn:
        place = list(figure.columns).index(column)
        value = number(row[place])
        hours = figure.columns[column] == "minutes"
        where = axis.isoformat() if figure.columns[next(iter(figure.columns))] == "day" else str(axis)
        points.append({"axis": where, "series": column, "value": value / 60 if value is not None and hours else value})
    return points


def _spec(figure: Figure, values: list[dict[str, Any]], drawn: tuple[str, ...]) -> dict[str, Any]:
    order = list(dict.fromkeys(value["axis"] for value in values))
    colour = {
        "field": "series",
        "type": "nominal",
        "sort": list(drawn),
        "scale": {"domain": list(drawn), "range": list(COLOURS[: len(drawn)])},
    }
    amount = {
        "field": "value",
        "type": "quantitative",
        "title": figure.unit or None,
        "axis": {"tickCount": 5, "format": "~s", "tickMinStep": 1},
    }
    day = {
        "field": "axis",
        "type": "temporal",
        "title": None,
        "axis": {"format": "%-d %b", "tickCount": min(len(order), 6), "grid": False, "labelOverlap": "greedy", "labelSeparation": 14},
        # Days of the tenant's zone: they are labels here, no instants.
        "scale": {"type": "utc"},
        "timeUnit": "utcyearmonthdate",
    }
    across: dict[str, Any] = {"field": "axis", "type": "nominal", "sort": order, "title": None, "axis": {"labelLimit": 150, "grid": False}}
    base: dict[str, Any] = {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "width": WIDTH,
        "height": HEIGHT,
        "autosize": {"type": "fit", "contains": "padding"},
        "background": "transparent",
        "config": _CONFIG,
        "data": {"values": values},
    }
    if figure.chart in {"bars", "stacked", "ranges"}:
        # Labels are measured in one font and may be drawn in a wider one.
        base["padding"] = {"left": 30, "right": 8, "top": 5, "bottom": 5}
    match figure.chart:
        case "lines":
            # Names of the data may be long: then one below the other.
            colour |= {"legend": {"symbolType": "stroke", **({"columns": 1} if sum(map(len, drawn)) > _LEGEND else {})}}
            dashes = {**colour, "scale": {"domain": list(drawn), "range": [[1, 0], [6, 3], [2, 2]][: len(drawn)]}}
            line = {
                "mark": {"type": "line", "point": {"size": 24}},
                "encoding": {"x": day, "y": amount, "color": colour, "strokeDash": dashes},
            }
            return {**base, **line}
        case "days":
            return {**base, "mark": {"type": "bar", "binSpacing": 2}, "encoding": {"x": day, "y": amount}}
        case "columns":
            side = {"field": "series", "sort": list(drawn)}
            tilted = {**across, "axis": {**across["axis"], "labelAngle": -35}}
            return {**base, "mark": "bar", "encoding": {"x": tilted, "xOffset": side, "y": amount, "color": colour}}
        case "stacked":
            tall = {**base, "height": max(90, 26 * len(order) + 50)}
            return {
                **tall,
                "mark": "bar",
                "encoding": {"y": across, "x": amount, "color": colour, "order": {"field": "series", "sort": "ascending"}},
            }
        case "ranges":
            tall = {**base, "height": max(90, 26 * len(order) + 50)}
            shapes = {**colour, "scale": {"domain": list(drawn), "range": ["circle", "diamond"]}}
            rule = {"mark": {"type": "line", "color": "#9aa5b1"}, "encoding": {"detail": {"field": "axis"}}}
            ends = {"mark": {"type": "point", "filled": True, "size": 70, "opacity": 1}, "encoding": {"color": colour, "shape": shapes}}
            return {**tall, "encoding": {"y": across, "x": amount}, "layer": [rule, ends]}
        case _:
            tall = {**base, "height": max(80, 26 * len(order) + 30)}
            return {**tall, "mark": "bar", "encoding": {"y": across, "x": amount}}
