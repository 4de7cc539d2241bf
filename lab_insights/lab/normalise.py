"""Reading source values: numbers, comparisons, titers, ranges, words, units, codes and typed times, as expressions that DuckDB and Spark both run.

A value is read where its text plainly says one thing, and is null elsewhere; the text itself stays in the column beside it. Nothing is converted or
repaired: what could not be read is counted by the contracts' `unmapped` and by the quality report.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from lab_insights.lab.terminology import CODED_TYPES, UNITS, UNNUMBERED, WORDS
from lab_insights.lab.texts import as_decimal

if TYPE_CHECKING:
    import ibis.expr.types as ir

Parser = Literal[
    "number", "quantity", "operator", "low", "high", "code", "code_system", "text", "range_low", "range_high", "ucum", "loinc",
    "mapping_method", "flag", "abnormal", "critical", "share", "time_of_day", "version",
]  # fmt: skip
"""What a contract's `parse:` may be; `version` is the row's own digest, which curation gives."""

_NUMBER = r"[+-]?(?:[0-9]+(?:[.][0-9]+)?|[.][0-9]+)"
_IS_NUMBER = rf"^{_NUMBER}$"
# HL7's SN may say that a value equals its number.
_COMPARISON = rf"^(<=|>=|<|>|=|≤|≥) *({_NUMBER})$"
# A titer is 1:80, whatever is compared with it; a range is two numbers parted by a dash, a long dash or "to".
_RATIO = r"^(<=|>=|<|>|=)? *([0-9]+) *: *([0-9]+)$"
_RANGE = rf"^[(\[]? *({_NUMBER}) *(?:-|–|to) *({_NUMBER}) *[)\]]?$"
_LOINC = r"^[0-9]{1,7}-[0-9]$"
_CLOCK = r"^([01]?[0-9]|2[0-3])(:|h|H)?([0-5][0-9])((:)([0-5][0-9]|60))? *([AaPp])?[.]?([Mm])?[.]?$"


def text(parser: Parser, value: ir.Value) -> ir.StringValue:
    """Return the text that `parser` reads of a source column: without blanks around it; a unit as `terminology.UNITS` spells them."""
    stripped = value.cast("string").strip()
    return stripped.replace(" ", "").replace("µ", "u").replace("μ", "u").lower() if parser == "ucum" else stripped


def parse(parser: Parser, told: ir.StringValue, beside: Sequence[ir.Value] = (), mapped: Mapping[str, str] | None = None) -> ir.Value:
    """Return what `parser` reads in its text; `beside` are the row's other columns that it looks at, `mapped` the contract's declared codes."""
    if parser == "loinc":
        return _loinc(told, beside[0], mapped or {})
    if parser == "flag":
        return _flag(told, mapped or {})
    return _PARSERS[parser](told, beside)


def _matched(text: ir.StringValue, pattern: str, group: int) -> ir.StringValue:
    """The group of a pattern, null where the text does not match or the group is empty."""
    return text.re_extract(pattern, group).nullif("")


def _decimal(text: ir.StringValue) -> ir.DecimalValue:
    return as_decimal(text, 38, 9)


def _number(text: ir.StringValue, _: Sequence[ir.Value] = ()) -> ir.DecimalValue:
    return _decimal(_matched(text, _IS_NUMBER, 0))


def _compared(text: ir.StringValue) -> ir.BooleanValue:
    return text.substr(0, 1).isin(["<", ">", "=", "≤", "≥"])


def _spelt(operator: ir.StringValue) -> ir.StringValue:
    """The comparison as it is told everywhere; that a value equals its number says no more than the number."""
    return operator.replace("≤", "<=").replace("≥", ">=").nullif("=")


def _numbered(value: ir.Value, kind: Sequence[ir.Value]) -> ir.Value:
    """What was read of a number, null where the value's type (none: not known) says that it is no number."""
    return _where(~kind[0].isin(UNNUMBERED).fill_null(False), value) if kind else value


def _quantity(text: ir.StringValue, kind: Sequence[ir.Value]) -> ir.DecimalValue:
    """The number; of a comparison its bound, as HL7's SN and FHIR's Quantity have it."""
    return _numbered(_compared(text).ifelse(_decimal(_matched(text, _COMPARISON, 2)), _number(text)), kind)


def _pair(text: ir.StringValue, ratio: int, between: int) -> ir.DecimalValue:
    """A number of a ratio or of a range, by its group in either; of a range only where the two are in order."""
    low, high = _decimal(_matched(text, _RANGE, 1)), _decimal(_matched(text, _RANGE, 2))
    return text.contains(":").ifelse(_decimal(_matched(text, _RATIO, ratio)), _where(low <= high, low if between == 1 else high))


def _where(condition: ir.BooleanValue, value: ir.Value) -> ir.Value:
    import ibis

    return condition.ifelse(value, ibis.null(value.type()))


def _operator(text: ir.StringValue, beside: Sequence[ir.Value]) -> ir.StringValue:
    import ibis

    *kind, low = beside
    is_ratio = text.contains(":")
    compared = _where(_compared(text), _spelt(is_ratio.ifelse(_matched(text, _RATIO, 1), _matched(text, _COMPARISON, 1))))
    told = ibis.coalesce(compared, _where(low.notnull(), is_ratio.ifelse(ibis.literal(":"), ibis.literal("-"))))
    return _numbered(told, kind)


def _part(text: ir.StringValue, place: int) -> ir.StringValue:
    """A component of an HL7 coded value, `code^text^system`."""
    return _matched(text, "^" + r"[^\^]*\^" * place + r"([^\^]*)", 1)


def _is_coded(beside: Sequence[ir.Value]) -> ir.BooleanValue:
    return beside[0].isin(CODED_TYPES).fill_null(False)


def _word(text: ir.StringValue) -> ir.StringValue:
    import ibis

    return text.lower().cases(*WORDS.items(), else_=ibis.null("string"))


def _code(text: ir.StringValue, beside: Sequence[ir.Value]) -> ir.StringValue:
    return _is_coded(beside).ifelse(_part(text, 0), _word(text))


def _code_system(text: ir.StringValue, beside: Sequence[ir.Value]) -> ir.StringValue:
    import ibis

    return _is_coded(beside).ifelse(_part(text, 2), _where(_word(text).notnull(), ibis.literal("SCT")))


def _text(text: ir.StringValue, beside: Sequence[ir.Value]) -> ir.StringValue:
    _type, number, low = beside
    return _is_coded(beside).ifelse(_part(text, 1), _where(number.isnull() & low.isnull(), text.nullif("")))


def _bound(text: ir.StringValue, group: int, openings: list[str]) -> ir.DecimalValue:
    """An end of a reference range: of `3.5-5.1` one of two, of `<0.4` and `>=60` the one that it has."""
    low, high = _decimal(_matched(text, _RANGE, 1)), _decimal(_matched(text, _RANGE, 2))
    one = _where(text.substr(0, 1).isin(openings), _decimal(_matched(text, _COMPARISON, 2)))
    return _compared(text).ifelse(one, _where(low <= high, low if group == 1 else high))


def _ucum(text: ir.StringValue, declared: Sequence[ir.StringValue]) -> ir.StringValue:
    """The unit by its spelling; one that is not known is what the source itself declares, for UCUM has many more than are listed."""
    import ibis

    return ibis.coalesce(_where(text.notnull(), text.cases(*UNITS.items(), else_=ibis.null("string"))), *declared)


def _loinc(text: ir.StringValue, local: ir.Value, mapped: Mapping[str, str]) -> ir.StringValue:
    import ibis

    ours = local.cases(*mapped.items(), else_=ibis.null("string")) if mapped else ibis.null("string")
    return ibis.coalesce(_matched(text, _LOINC, 0), ours)


def _mapping_method(text: ir.StringValue, beside: Sequence[ir.Value]) -> ir.StringValue:
    import ibis

    ours = beside[0].notnull().ifelse(ibis.literal("local_map"), ibis.literal("none"))
    return _matched(text, _LOINC, 0).notnull().ifelse(ibis.literal("source"), ours)


def _flag(text: ir.StringValue, mapped: Mapping[str, str]) -> ir.StringValue:
    """What the gravest of the flags means, where `~` parts several: a critical value is one whatever stands beside it."""
    import ibis

    if not mapped:
        return text
    every = ibis.literal("~") + text + ibis.literal("~")
    return ibis.cases(*((every.contains(f"~{code}~"), meaning) for code, meaning in sorted(mapped.items(), key=_gravity)))


def _gravity(flag: tuple[str, str]) -> tuple[bool, bool, bool]:
    """Critical before abnormal before normal; which way the value lies before that it is abnormal, which says less."""
    _, meaning = flag
    return meaning == "normal", not meaning.startswith("critical_"), meaning.endswith("abnormal")


def _abnormal(text: ir.StringValue, beside: Sequence[ir.Value]) -> ir.BooleanValue:
    """By the flag; without one by a plain number against the ends of the range that are known."""
    import ibis

    flag, number, operator, low, high = beside
    outside = (number < low).fill_null(False) | (number > high).fill_null(False)
    compared = operator.isnull() & number.notnull() & (low.notnull() | high.notnull())
    by_flag = _where(flag.notnull(), flag != ibis.literal("normal"))
    return text.nullif("").isnull().ifelse(_where(compared, outside), by_flag)


def _critical(text: ir.StringValue, beside: Sequence[ir.Value]) -> ir.BooleanValue:
    return text.nullif("").isnull().ifelse(False, beside[0].startswith("critical_"))


def _share(text: ir.StringValue, _: Sequence[ir.Value] = ()) -> ir.DecimalValue:
    """A percentage in either of its spellings: 0.10 and 50 are both legal, 50 % too."""
    number = _decimal(_matched(text, rf"^({_NUMBER}) *%?$", 1))
    share = ((number > 1) | text.endswith("%")).ifelse((number / 100).cast("decimal(38, 9)"), number)
    return _where(share.between(0, 1), share)


def _time_of_day(text: ir.StringValue, _: Sequence[ir.Value] = ()) -> ir.StringValue:
    """A time that somebody typed, as HH:MM:SS: 0715, 7:15 AM, 07h15. A leap second is the second before it."""
    import ibis

    hour, half = _matched(text, _CLOCK, 1).try_cast("int64"), _matched(text, _CLOCK, 7).upper()
    minute, second = _matched(text, _CLOCK, 3), _matched(text, _CLOCK, 6).fill_null("00")
    of_twelve = half.isnull() | hour.between(1, 12)
    shifted = half.fill_null("").cases(("P", hour % 12 + 12), ("A", hour % 12), else_=hour)
    told = shifted.cast("string").lpad(2, "0") + ibis.literal(":") + minute + ibis.literal(":") + second.cases(("60", "59"), else_=second)
    return _where(of_twelve, told)


_PARSERS: dict[Parser, Callable[[ir.StringValue, Sequence[ir.Value]], ir.Value]] = {
    "number": _number,
    "quantity": _quantity,
    "operator": _operator,
    "low": lambda text, kind: _numbered(_pair(text, 2, 1), kind),
    "high": lambda text, kind: _numbered(_pair(text, 3, 2), kind),
    "code": _code,
    "code_system": _code_system,
    "text": _text,
    "range_low": lambda text, _: _bound(text, 1, [">", "≥"]),
    "range_high": lambda text, _: _bound(text, 2, ["<", "≤"]),
    "ucum": _ucum,
    "mapping_method": _mapping_method,
    "abnormal": _abnormal,
    "critical": _critical,
    "share": _share,
    "time_of_day": _time_of_day,
}
