"""What an analyzer reports: source values as text, with the oddities of real ones."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from lab_insights.local.laboratory import vocabulary as words
from lab_insights.local.laboratory.catalogue import Component


@dataclass(frozen=True, slots=True)
class Value:
    """A reported value: text, HL7 value type (`NM SN ST TX`) and abnormal flag."""

    raw: str
    type: str
    flag: str | None


def draw(component: Component, dice: Random, critical: bool = False) -> Value:
    """Return a value of `component`; `critical` asks for one past its upper critical bound, where it has one."""
    match component.kind:
        case "number":
            return _number(component, dice, critical)
        case "below":
            measured = dice.expovariate(8)
            if measured < component.low:
                return Value(f"<{component.low}", "SN", None)
            return Value(f"{measured:.{component.decimals}f}", "NM", "H" if measured > component.high else None)
        case "titre":
            dilution = dice.choice((20, 40, 40, 80, 160, 640))
            return Value(f"1:{dilution}", "SN", "A" if dilution >= 40 else None)
        case "composite":
            parts = [
                f"{dice.uniform(1.005, 1.030):.3f}",
                f"{dice.uniform(5, 8):.1f}",
                dice.choice(("neg", "trace", "1+")),
            ]
            # Some do not match the component list: the strip was read in part.
            return Value(",".join(parts if dice.random() < 0.9 else parts[:2]), "ST", None)
        case "narrative":
            return Value(dice.choice(words.NARRATIVES), "TX", None)


def is_critical(value: Value) -> bool:
    """Tell whether a value asks for a telephone call."""
    return value.flag in ("HH", "LL")


def _number(component: Component, dice: Random, critical: bool) -> Value:
    if not critical and dice.random() < 0.01:
        return Value("hemolyzed", "ST", None)  # unparsable where a number belongs
    middle, spread = (component.low + component.high) / 2, (component.high - component.low) / 3
    top = component.critical_high
    number = top * 1.08 if critical and top != float("inf") else max(0.0, dice.gauss(middle, spread))
    text = f"{number:.{component.decimals}f}"
    shown = float(text)
    if shown > component.critical_high or shown < component.critical_low:
        return Value(text, "NM", "HH" if shown > component.high else "LL")
    if shown > component.high or shown < component.low:
        return Value(text, "NM", "H" if shown > component.high else "L")
    return Value(text, "NM", None)
