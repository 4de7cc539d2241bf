"""Values as text, which both engines write alike: of one value, and of several as one that no other values have."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ibis.expr.types as ir

# Digits of a decimal that DuckDB holds in 64 bits.
_NARROW = 18


def joined(values: list[ir.Value]) -> ir.StringValue:
    """Return one text for several values, each led by its length, so that null differs from empty and no two rows look alike."""
    import ibis

    texts = []
    for value in values:
        text = as_text(value)
        texts.append(ibis.coalesce(text.length().cast("string") + ibis.literal(":") + text, ibis.literal("-")))
    # One call of many arguments: a sum of sums is as deep as a table is wide, and the compiler gives up at a few hundred columns.
    return ibis.literal("").join(texts)


def as_text(value: ir.Value) -> ir.StringValue:
    """Return a value as text that both engines write alike; binary in hexadecimal."""
    if value.type().is_string():
        return value
    return _hex()(value) if value.type().is_binary() else value.cast("string")


def as_decimal(text: ir.StringValue, precision: int, scale: int) -> ir.DecimalValue:
    """Return the number that a text is, null where it is none of this type.

    DuckDB takes 4.5 µs to read a text as a number of 38 digits, and 0.06 µs where 18 are enough and it is widened: what these hold is read so.
    """
    import ibis
    import ibis.expr.datatypes as dt

    wanted = dt.Decimal(precision, scale)
    if precision <= _NARROW:
        return text.try_cast(wanted)
    return ibis.coalesce(text.try_cast(dt.Decimal(_NARROW, scale)).cast(wanted), text.try_cast(wanted))


@functools.cache
def _hex() -> Callable[[ir.Value], ir.StringValue]:
    import ibis

    @ibis.udf.scalar.builtin(name="hex", signature=(("binary",), "string"))  # type: ignore[untyped-decorator]
    def hexadecimal(value: bytes) -> str: ...  # type: ignore[empty-body]

    return hexadecimal  # type: ignore[no-any-return]
