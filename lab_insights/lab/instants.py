"""Free-text times: a form such as `M/D/YY h:mma` as an expression that reads text of that form as an instant, and null out of any other.

Parts of a form: `YYYY` or `YY` (70–99 are of the last century), `M`, `D`, `H` (0–23) or `h` (1–12, with `a` for am and pm), `mm`, `ss`. Numbers may have one
digit where their part has one letter. Anything else stands for itself, a space for any number of them. Texts are taken for UTC.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ibis.expr.types as ir

_PARTS = {
    "YYYY": r"([0-9]{4})",
    "YY": r"([0-9]{2})",
    "MM": r"([0-9]{2})",
    "M": r"([0-9]{1,2})",
    "DD": r"([0-9]{2})",
    "D": r"([0-9]{1,2})",
    "HH": r"([0-9]{2})",
    "H": r"([0-9]{1,2})",
    "hh": r"([0-9]{2})",
    "h": r"([0-9]{1,2})",
    "mm": r"([0-9]{2})",
    "ss": r"([0-9]{2})",
    "a": r"\s*([ap])[.]?(?:m[.]?)?",
}
_TOKEN = re.compile("|".join(_PARTS))


def form(text: str) -> str:
    """Return a form; raise `ValueError` unless it says the whole day, and each part once."""
    parts = _TOKEN.findall(text)
    letters = [part[0] for part in parts]
    if len(set(letters)) < len(letters) or not {"Y", "M", "D"} <= set(letters) or ("h" in letters) != ("a" in letters):
        raise ValueError("a form such as `M/D/YY h:mma` has a year, a month and a day, each part once, and `a` just where it has `h`")
    return text


def instant(text: ir.StringValue, forms: tuple[str, ...]) -> ir.TimestampValue:
    """Return the instant that a text says in the first of `forms` that it has; null where it has none, or says no day that there is."""
    import ibis

    plain = text.strip().lower()
    return ibis.coalesce(*(_read(plain, each).try_cast("timestamp(6)") for each in forms))


def _read(text: ir.StringValue, of: str) -> ir.StringValue:
    """Return a text of the form `of` as ISO 8601, null where it is of another."""
    import ibis

    pattern = f"^{_pattern(of)}$"
    group = {part[0]: (part, position) for position, part in enumerate(_TOKEN.findall(of), start=1)}

    def digits(letter: str) -> ir.StringValue:
        found = text.re_extract(pattern, group[letter][1]) if letter in group else ibis.literal("00")
        return found.lpad(2, "0")

    year = digits("Y") if group["Y"][0] == "YYYY" else (digits("Y") < "70").ifelse("20", "19") + digits("Y")
    hour = digits("H")
    if "h" in group:
        late = text.re_extract(pattern, group["a"][1]) == "p"
        twelve = digits("h").nullif("00").try_cast("int64") % 12
        hour = (late.ifelse(twelve + 12, twelve)).cast("string").lpad(2, "0")
        hour = (digits("h") <= "12").ifelse(hour, ibis.null("string"))
    iso = ibis.literal("").join([year, "-", digits("M"), "-", digits("D"), " ", hour, ":", digits("m"), ":", digits("s")])
    return text.re_search(pattern).ifelse(iso, ibis.null("string"))


def _pattern(of: str) -> str:
    written, end = "", 0
    for token in _TOKEN.finditer(of):
        written += _fixed(of[end : token.start()]) + _PARTS[token.group()]
        end = token.end()
    return written + _fixed(of[end:])


def _fixed(text: str) -> str:
    return re.sub(r"(\\ )+", r"\\s+", re.escape(text.lower()))
