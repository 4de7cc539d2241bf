"""Data types of FHIR R4 as columns: coded concepts, identifiers, names, and every type of Observation.value[x]."""

from __future__ import annotations

from typing import Any

from lab_insights.lab.fhir.document import Document, Resource
from lab_insights.lab.stamps import iso_instant

LOINC = "http://loinc.org"
UCUM = "http://unitsofmeasure.org"
NPI = "http://hl7.org/fhir/sid/us-npi"
_NOTHING: tuple[Any, ...] = (None,) * 8
_UNLIKE: tuple[Any, ...] = (None, None)
VALUES = (
    "Quantity", "CodeableConcept", "String", "Boolean", "Integer", "Range", "Ratio", "SampledData", "Time", "DateTime", "Period",
)  # fmt: skip


def first(values: Any) -> Resource:
    """Return the first of a list of elements, an empty one when there is none."""
    return values[0] if values and isinstance(values, list) and isinstance(values[0], dict) else {}


def text(value: object) -> str | None:
    """Return a text that says something."""
    return value if isinstance(value, str) and value else None


def instant(value: object) -> object:
    """Return an instant (None, datetime or marked)."""
    return iso_instant(value) if isinstance(value, str) else None


def concept(value: Resource | None) -> tuple[str | None, str | None, str | None]:
    """Return code, text and system of a CodeableConcept."""
    if not value:
        return None, None, None
    coding = first(value.get("coding"))
    return text(coding.get("code")), text(value.get("text")) or text(coding.get("display")), text(coding.get("system"))


def test(value: Resource | None) -> tuple[str | None, str | None, str | None, str | None]:
    """Return the local code, name, its system, and the LOINC code of a CodeableConcept."""
    if not value:
        return None, None, None, None
    local = loinc = None
    for coding in value.get("coding") or ():
        if coding.get("system") == LOINC:
            loinc = loinc or coding
        else:
            local = local or coding
    chosen = local or loinc or {}
    code = text(loinc.get("code")) if loinc else None
    return text(chosen.get("code")), text(value.get("text")) or text(chosen.get("display")), text(chosen.get("system")), code


def identifier(values: Any, *types: str) -> Resource:
    """Return the identifier of the first of these types that there is, else the first of all; empty when there is none."""
    for wanted in types:
        for each in values or ():
            if any(coding.get("code") == wanted for coding in (each.get("type") or {}).get("coding") or ()):
                return each  # type: ignore[no-any-return]
    return first(values)


def numbered(identifier: Resource) -> tuple[str | None, str | None]:
    """Return the value of an identifier, and whose it is."""
    return text(identifier.get("value")), text(identifier.get("system"))


def order_numbers(values: Any) -> tuple[str | None, str | None, str | None, str | None]:
    """Return placer and filler number of identifiers, each with whose it is: by their types PLAC and FILL; of those without one the first is the placer's."""
    typed: dict[str, tuple[str | None, str | None]] = {}
    plain: list[tuple[str | None, str | None]] = []
    for each in values or ():
        codes = [coding.get("code") for coding in (each.get("type") or {}).get("coding") or ()]
        if codes:
            typed.setdefault(str(codes[0]), numbered(each))
        else:
            plain.append(numbered(each))
    left = iter(plain)
    placer = typed["PLAC"] if "PLAC" in typed else next(left, (None, None))
    return *placer, *(typed["FILL"] if "FILL" in typed else next(left, (None, None)))


def name(values: Any) -> tuple[str | None, str | None]:
    """Return family and first given name: the official one, else the first."""
    chosen = next((each for each in values or () if each.get("use") == "official"), None) or first(values)
    given = chosen.get("given")
    return text(chosen.get("family")), text(given[0]) if given else None


def phone(values: Any) -> str | None:
    """Return the first telephone number."""
    return next((text(each.get("value")) for each in values or () if each.get("system") == "phone"), None)


def number(document: Document, quantity: Resource | None) -> tuple[str | None, str | None]:
    """Return the number and unit of a Quantity."""
    if not quantity:
        return None, None
    return document.number(quantity.get("value")), text(quantity.get("unit")) or text(quantity.get("code"))


def observed(document: Document, holder: Resource) -> tuple[str | None, tuple[Any, ...], tuple[Any, ...]]:
    """Return the type of value[x], the value as `records` has it (raw, number, operator, low, high, code, system, text), and its units."""
    if quantity := holder.get("valueQuantity"):
        value, unit = number(document, quantity)
        operator = text(quantity.get("comparator"))
        units = unit, text(quantity.get("code")) if quantity.get("system") == UCUM else None
        return "Quantity", (f"{operator or ''}{value or ''}" or None, value, operator, None, None, None, None, None), units
    for kind in VALUES[1:]:
        if (value := holder.get(f"value{kind}")) is not None:
            return (kind, *_other(document, kind, value))
    return None, _NOTHING, _UNLIKE


def _other(document: Document, kind: str, value: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    match kind:
        case "CodeableConcept":
            code, told, system = concept(value)
            # As HL7 v2 writes a coded value, so that both are read as one.
            return (
                "^".join((code or "", told or "", system or "")).rstrip("^"),
                None,
                None,
                None,
                None,
                code,
                system,
                told or code,
            ), _UNLIKE
        case "Integer":
            digits = document.number(value)
            return (digits, digits, None, None, None, None, None, None), _UNLIKE
        case "Boolean":
            told = "true" if value else "false"
            return (told, None, None, None, None, told, None, told), _UNLIKE
        case "Range":
            (low, unit), (high, _) = number(document, value.get("low")), number(document, value.get("high"))
            return (f"{low or ''}-{high or ''}", None, "-", low, high, None, None, None), (unit, None)
        case "Ratio":
            return _ratio(document, value.get("numerator") or {}, value.get("denominator") or {})
        case "Period":
            start, end = text(value.get("start")), text(value.get("end"))
            return (f"{start or ''}/{end or ''}", None, None, start, end, None, None, None), _UNLIKE
        case "SampledData":
            data, (_, unit) = text(value.get("data")), number(document, value.get("origin"))
            return (data, None, None, None, None, None, None, data), (unit, None)
    told = text(value)
    return (told, None, None, None, None, None, None, told), _UNLIKE


def _ratio(document: Document, numerator: Resource, denominator: Resource) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    (above, unit), (below, _) = number(document, numerator), number(document, denominator)
    operator, within = text(numerator.get("comparator")), text(denominator.get("comparator"))
    if within and not operator and numerator.get("value") == 1:
        # A titer is compared by its dilution: one in less than eight is less than 1:8, which is how HL7 v2 has it.
        operator, within = within, None
    told = f"{operator or ''}{above or ''}:{within or ''}{below or ''}"
    if within:
        # No number and no operator says this without altering it.
        return (told, None, None, None, None, None, None, told), (unit, None)
    return (told, None, operator or ":", above, below, None, None, None), (unit, None)
