"""Source proof: what the server computes of the rows that it sends, in the same statement, and the same computed from what arrived.

Beside the count of rows: for numbers and truths their sum, for instants and dates that of their microseconds and days since 1970, for text and bytes that of
their lengths. All are exact: integers and decimals as they are, floating-point numbers below 2^32 in steps of 2^-20, which are whole numbers.

Text is hashed of a sample of rows as well (`sample`).

What is not proven here: the content of text of the same length outside of the sample; instants outside of the years 1000 to 9999, and what was kept as text
beside its column.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal

from lab_insights.config import Engine
from lab_insights.errors import LandingMismatch
from lab_insights.extract import sample
from lab_insights.extract.catalog import SourceTable
from lab_insights.extract.projection import TEXT_SUFFIX, Shipped, ship

if TYPE_CHECKING:
    import pyarrow as pa
    import sqlalchemy as sa

Proof = Literal["counts", "sums"]
_SEPARATOR = "|"
# What sessions are set to (`streams`), in the server's own words.
_UTC: dict[str, str] = {"mysql": "+00:00", "postgresql": "UTC"}
# PostgreSQL takes no more than a hundred arguments.
_ARGUMENTS = 50
_FIRST, _END = "1000-01-01", "10000-01-01"
_FIRST_DAY, _END_DAY = -354_285, 2_932_897
_DAY = 86_400_000_000
# MySQL's TO_DAYS and TO_SECONDS of 1970-01-01.
_TO_DAYS, _TO_SECONDS = 719_528, 62_167_219_200
_ORDINARY = r"^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
# Decimal digits that 128 bits hold.
_DIGITS = 38
_STEP, _FLOATS = 1 << 20, 1 << 32


def told(table: SourceTable, relation: Any, shipped: Sequence[Shipped], proof: Proof) -> sa.ColumnElement[str]:
    """Return the expression of the text in which the server says what it sends: its session's zone, the count of rows, and for `sums` a sum for each column.

    What the sample's text sums up to comes last, where the table has any.
    """
    import sqlalchemy as sa

    zone = _literal("@@session.time_zone") if table.engine == "mysql" else sa.func.current_setting("TimeZone")
    sums: list[sa.ColumnElement[Any]] = [zone, sa.func.count()]
    if proof == "sums":
        for column, its in zip(table.columns, shipped, strict=True):
            source = relation.c[column.name]
            value = _value(its, table.engine, source, ship(column, table.engine, source).expression)
            sums.append(sa.func.coalesce(sa.func.sum(value), 0))
        if chosen := sample.sample_of(table, shipped):
            sums.append(sa.func.coalesce(sa.func.sum(sample.said(chosen, table, relation, shipped)), 0))
    texts: list[sa.ColumnElement[Any]] = sums
    while len(texts) > _ARGUMENTS:
        texts = [sa.func.concat_ws(_SEPARATOR, *texts[start : start + _ARGUMENTS]) for start in range(0, len(texts), _ARGUMENTS)]
    return _text(sa.func.concat_ws(_SEPARATOR, *texts), table.engine)


def nothing(column: Shipped, engine: Engine) -> sa.ColumnElement[Any]:
    """Return the null that stands in the place of a column beside the text."""
    import sqlalchemy as sa
    from sqlalchemy.dialects import mysql

    # MariaDB's union of unsigned 64 bits and a plain null is signed.
    if engine == "mysql" and column.arrow == "uint64":
        return sa.cast(sa.null(), mysql.INTEGER(unsigned=True))
    return _literal("NULL")


def untold(engine: Engine) -> sa.ColumnElement[str]:
    """Return the null that stands beside each row in the place of the text."""
    import sqlalchemy as sa

    return _text(sa.null(), engine)


def _text(expression: Any, engine: Engine) -> sa.ColumnElement[str]:
    import sqlalchemy as sa
    from sqlalchemy.dialects import mysql

    return sa.cast(expression, mysql.CHAR() if engine == "mysql" else sa.Text())


def _value(shipped: Shipped, engine: Engine, source: sa.ColumnElement[Any], sent: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """Return what is summed of a column at the server: of its value, or of the text that it is sent as."""
    import pyarrow.types as pat
    import sqlalchemy as sa

    kind, mysql = shipped.arrow, engine == "mysql"
    if pat.is_boolean(kind):
        return sa.case((sent, 1))
    if pat.is_integer(kind):
        return sent
    if pat.is_decimal(kind):
        bound = _literal(f"1{'0' * (kind.precision - kind.scale)}")
        # PostgreSQL's NaN is greater than every number.
        return source if mysql else sa.case((sa.and_(source < bound, source > -bound), source))
    if pat.is_floating(kind):
        number = source if mysql else sa.cast(source, sa.Double())
        stepped = sa.func.floor(number * _literal(str(_STEP)))
        return sa.case((sa.func.abs(number) < _literal(str(_FLOATS)), sa.cast(stepped, sa.BigInteger if not mysql else sa.Integer)))
    if pat.is_timestamp(kind):
        if mysql:
            # Twice as fast as TIMESTAMPDIFF; zero and partial-zero dates are null in both.
            seconds = sa.func.to_seconds(source) - _literal(str(_TO_SECONDS))
            return sa.case((sa.func.year(source) > _literal("999"), seconds * _literal("1000000") + sa.func.microsecond(source)))
        made_text: Any = sent
        instant = made_text.clause  # in UTC
        first, end = _literal(f"TIMESTAMP '{_FIRST}'"), _literal(f"TIMESTAMP '{_END}'")
        return sa.case((sa.and_(instant >= first, instant < end), sa.cast(sa.extract("epoch", instant) * 1_000_000, sa.BigInteger)))
    if pat.is_date(kind):
        if mysql:
            return sa.case((sa.func.year(source) > _literal("999"), sa.func.to_days(source) - _literal(str(_TO_DAYS))))
        first, end = _literal(f"DATE '{_FIRST}'"), _literal(f"DATE '{_END}'")
        return sa.case((sa.and_(source >= first, source < end), source - _literal("DATE '1970-01-01'")))
    if pat.is_binary(kind):
        return sa.func.length(sent)
    # A cast to the connection's character set would cost as much again, and change no character.
    return sa.func.char_length(source if mysql and shipped.fidelity == "exact" else sent)


def _literal(text: str) -> sa.ColumnElement[Any]:
    import sqlalchemy as sa

    found: sa.ColumnElement[Any] = sa.literal_column(text)
    return found


@dataclass
class Tally:
    """The same sums over the batches that arrived, as they are landed."""

    table: SourceTable
    shipped: Sequence[Shipped]
    proof: Proof

    def __post_init__(self) -> None:
        self.rows, self._hashed = 0, 0
        self._sample = sample.sample_of(self.table, self.shipped) if self.proof == "sums" else None
        self._sums: dict[str, Fraction] = dict.fromkeys((column.name for column in self.shipped), Fraction(0))
        # A column that was altered since the crawl, or whose bytes are no text: its misfits have no sum that both sides know.
        self._beyond: set[str] = set()

    def add(self, batch: pa.RecordBatch) -> None:
        """Count a batch in."""
        self.rows += batch.num_rows
        if self.proof == "counts":
            return
        names = set(batch.schema.names)
        for column in self.shipped:
            beside = f"{column.name}{TEXT_SUFFIX}"
            if beside in names and _known_to_one_side(column.arrow, batch.column(beside)):
                self._beyond.add(column.name)
            self._sums[column.name] += _sum(batch.column(column.name))
        if self._sample:
            self._hashed += sample.arrived(self._sample, batch)

    def check(self, said: str | None) -> str:
        """Return how the rows are proven by what the server `said`; raise `LandingMismatch` that names the columns which are not.

        A session that was not in UTC is refused: the server would have moved instants, in what it sent and in its sums alike.
        """
        table = self.table
        zone, counted, *sums = said.split(_SEPARATOR) if said is not None else [_UTC[table.engine], "unknown"]
        if zone != _UTC[table.engine]:
            raise LandingMismatch(
                f"The session that read this table was in the zone {zone}, and not in UTC.",
                remedy="connect to the server itself, or through a pooler that keeps a session's settings; nothing was committed.",
                tenant=table.tenant,
                table=table.table_id,
            )
        if said is None or int(counted) != self.rows:
            raise _mismatch(f"The source counted {counted} rows and {self.rows} arrived.", table)
        if self.proof == "counts":
            return "count(*) in the statement that was read"
        hashed = int(sums.pop()) if self._sample and sums else 0
        if len(sums) != len(self._sums):
            raise _mismatch(f"The source gave {len(sums)} sums of {len(self._sums)} columns.", table)
        compared = {
            name: (its, Fraction(sum_)) for (name, its), sum_ in zip(self._sums.items(), sums, strict=True) if name not in self._beyond
        }
        wrong = [name for name, (its, sum_) in compared.items() if its != sum_]
        if wrong:
            raise _mismatch(f"The source's own sums differ from those of what arrived in {', '.join(wrong)}.", table)
        told = f"count(*), and the exact sums of {len(compared)} of {len(self._sums)} columns, in the statement that was read"
        if not self._sample:
            return told
        if self._beyond.intersection((*self._sample.texts, *self._sample.by)):
            return f"{told}; no text hashed, since some was kept beside its column"
        if hashed != self._hashed:
            raise _mismatch("The source's own hash of the sampled rows' text differs from that of what arrived.", table)
        return f"{told}; text hashed of {self._sample}"


def _mismatch(message: str, table: SourceTable) -> LandingMismatch:
    remedy = "materialize the partition again; nothing was committed."
    return LandingMismatch(message, remedy=remedy, tenant=table.tenant, table=table.table_id)


def _known_to_one_side(kind: pa.DataType, misfits: pa.Array) -> bool:
    """Whether the server summed up what is kept as text here. It leaves out zero dates, infinity and years before Christ, but not the 31st of February."""
    import pyarrow.compute as pc
    import pyarrow.types as pat

    misfits = misfits.drop_null()
    if not pat.is_timestamp(kind) and not pat.is_date(kind):
        return len(misfits) > 0
    ordinary = pc.and_not(pc.match_substring_regex(misfits, _ORDINARY), pc.ends_with(misfits, " BC"))
    return bool(pc.any(ordinary).as_py())


def _sum(values: pa.Array) -> Fraction | int:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.types as pat

    kind = values.type
    if pat.is_decimal(kind):
        # Arrow adds decimals up in their own width, and goes over it without a word; 256 bits take 14 times as long as 128.
        fits = pat.is_decimal128(kind) and kind.precision + len(str(len(values))) <= _DIGITS
        return Fraction(pc.sum(values if fits else values.cast(pa.decimal256(76, kind.scale))).as_py() or 0)
    if pat.is_string(kind):
        return _whole(pc.utf8_length(values))
    if pat.is_binary(kind):
        return _whole(pc.binary_length(values))
    if pat.is_floating(kind):
        numbers = values.cast(pa.float64())
        small = numbers.filter(pc.less(pc.abs(numbers), float(_FLOATS)))
        return _whole(pc.floor(pc.multiply(small, float(_STEP))).cast(pa.int64()))
    if pat.is_timestamp(kind):
        return _whole(_within(values.view(pa.int64()), _FIRST_DAY * _DAY, _END_DAY * _DAY))
    if pat.is_date(kind):
        return _whole(_within(values.view(pa.int32()), _FIRST_DAY, _END_DAY))
    return _whole(values.cast(pa.int8()) if pat.is_boolean(kind) else values)


def _within(values: pa.Array, first: int, end: int) -> pa.Array:
    import pyarrow.compute as pc

    found = pc.min_max(values).as_py()
    if found["min"] is None or (found["min"] >= first and found["max"] < end):
        return values
    return values.filter(pc.and_(pc.greater_equal(values, first), pc.less(values, end)))


def _whole(values: pa.Array) -> int:
    """The sum of integers, whatever their width: Arrow's own of 64 bits goes over without a word."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if values.type.bit_width < 64:
        return pc.sum(values).as_py() or 0
    low = pc.bit_wise_and(values, pa.scalar(0xFFFFFFFF, values.type))
    high = pc.shift_right(values, pa.scalar(32, values.type))
    return ((pc.sum(high).as_py() or 0) << 32) + (pc.sum(low).as_py() or 0)
