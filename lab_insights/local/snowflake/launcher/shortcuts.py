"""fakesnow's answers for less: a text is parsed once, transformed only where that can change it, and its result described by what DuckDB told with it.

fakesnow 0.12.1 parses each text twice, walks its tree seventy times and has DuckDB describe and confirm each result. Of a
load's statements (30 columns), in milliseconds of the server's processor before and after, medians on two busy cores:
CREATE of the stage table 52 and 26, BEGIN 5 and 3, UPDATE of the heads 13 and 4, COPY 37 and 29, MERGE 41 and 22,
INSERT of the ledger 17 and 5, COMMIT 7 and 5, a query of the heads 22 and 6, one of INFORMATION_SCHEMA 29 and 18; the
whole load with two MERGEs 285 and 155. What is left is mostly DuckDB's own work.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Any

import fakesnow.cursor
import fakesnow.server as server  # noqa: PLR0402 - `fakesnow` also has a function of that name
from fakesnow.cursor import FakeSnowflakeCursor
from sqlglot import exp
from sqlglot.dialects.duckdb import DuckDB

from .alike import parsing
from .chain import Chain, depends

# What only reads or changes rows, so that how it is transformed depends on its text alone.
_ROWS: Any = (exp.Query, exp.Insert, exp.Update, exp.Delete, exp.Transaction, exp.Commit, exp.Rollback)
_KEPT = 256
# in single quotes, as no query of a client arrives here; a name that is created is not worth keeping
_SAYING = re.compile(
    r"SELECT (?:'Statement executed successfully\.' as 'status'|\d{1,3} as 'number of rows \w+'(?:, 0 as 'number of multi-joined rows updated')?)"
)
_SAID: dict[str, tuple[Any, Any]] = {}
_MEMORY = "memory"


def shorten() -> None:
    """Put the shortcuts into the imported fakesnow, after its mends."""
    trees = _Trees(parsing(server.parse_one))
    server.parse_one, fakesnow.cursor.parse_one = trees.look, trees.take
    FakeSnowflakeCursor.__init__ = _answering(FakeSnowflakeCursor.__init__)
    FakeSnowflakeCursor._transform = _transforming(FakeSnowflakeCursor._transform)
    FakeSnowflakeCursor._execute = _noting_columns(FakeSnowflakeCursor._execute)
    FakeSnowflakeCursor._describe_last_sql = _described
    DuckDB.generate = _written(DuckDB.generate)  # type: ignore[method-assign]
    fakesnow.cursor.checks.is_unqualified_table_expression = _once_per_tree(fakesnow.cursor.checks.is_unqualified_table_expression)


class _Memory(dict[str, Any]):
    """What is known of one tree, in its `meta`: compiled trees take no attributes. A copy of the tree may be changed, and knows nothing."""

    def __deepcopy__(self, _: Any) -> None:
        return None


def _memory(tree: Any) -> _Memory | None:
    found: _Memory | None = tree.meta.get(_MEMORY)
    return found


class _Trees:
    """The trees of the latest texts: the one that the server looks at is the one that its cursor runs."""

    def __init__(self, parse: Callable[[str], Any]) -> None:
        self._parse = parse
        self._held: OrderedDict[str, Any] = OrderedDict()
        self._one_at_a_time = Lock()

    def look(self, text: str) -> Any:
        """Return the tree of `text`, not to be changed."""
        with self._one_at_a_time:
            if text in self._held:
                self._held.move_to_end(text)
                return self._held[text]
        tree: Any = self._parse(text)
        if isinstance(tree, _ROWS) and not tree.args.get("overwrite") and not depends(tree):
            tree.meta[_MEMORY] = _Memory()
        with self._one_at_a_time:
            self._held[text] = tree
            if len(self._held) > _KEPT:
                self._held.popitem(last=False)
        return tree

    def take(self, text: str) -> Any:
        """Return the tree of `text`; one without a memory is the caller's to change."""
        tree = self.look(text)
        if _memory(tree) is None:
            with self._one_at_a_time:
                taken = self._held.pop(text, None)
            if taken is not tree:  # another session was first
                return self._parse(text)
        return tree


def _transforming(transform: Callable[..., Any]) -> Callable[..., Any]:
    def wrapped(self: Any, tree: Any, params: Any) -> Any:
        memory = _memory(tree)
        if memory is None:
            return transform(self, Chain(tree), params).tree
        if "transformed" not in memory:
            transformed = transform(self, Chain(tree.copy()), params).tree
            transformed.meta[_MEMORY] = _Memory()
            memory["transformed"] = transformed
        return memory["transformed"]

    return wrapped


def _once_per_tree(check: Callable[..., Any]) -> Callable[..., Any]:
    def wrapped(tree: Any) -> Any:
        memory = _memory(tree)
        if memory is None:
            return check(tree)
        if "unqualified" not in memory:
            memory["unqualified"] = check(tree)
        return memory["unqualified"]

    return wrapped


def _written(generate: Callable[..., str]) -> Callable[..., str]:
    def wrapped(self: Any, tree: Any, copy: bool = True, **options: Any) -> str:
        memory = None if options else _memory(tree)
        if memory is None:
            return generate(self, tree, copy, **options)
        if "sql" not in memory:
            memory["sql"] = generate(self, tree, copy)
        found: str = memory["sql"]
        return found

    return wrapped


class _Answering:
    """A DuckDB connection that is not asked again for what fakesnow lets it say of a statement that was run."""

    def __init__(self, duck: Any) -> None:
        self._duck = duck
        self._said: tuple[Any, Any] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._duck, name)

    def execute(self, sql: str, params: Any = None) -> Any:
        """Run a statement, or find what it said before."""
        if not _SAYING.fullmatch(sql):
            self._said = None
            return self._duck.execute(sql, params)
        self._said = _said(self._duck, sql)
        return self

    def to_arrow_table(self) -> Any:
        """Return the result."""
        return self._said[0] if self._said else self._duck.to_arrow_table()

    @property
    def description(self) -> Any:
        """The columns of the result."""
        return self._said[1] if self._said else self._duck.description


def _said(duck: Any, sql: str) -> tuple[Any, Any]:
    if sql not in _SAID:
        duck.execute(sql)
        _SAID[sql] = duck.to_arrow_table(), duck.description
    return _SAID[sql]


def _answering(start: Callable[..., None]) -> Callable[..., None]:
    def wrapped(self: Any, conn: Any, duck_conn: Any, use_dict_result: bool = False) -> None:
        start(self, conn, _Answering(duck_conn), use_dict_result)

    return wrapped


def _noting_columns(execute: Callable[..., Any]) -> Callable[..., Any]:
    def wrapped(self: Any, transformed: Any, params: Any = None) -> None:
        execute(self, transformed, params)
        # the result of another statement is not the connection's latest
        self._columns = None if transformed.args.get("result_scan_sfqid") else self._duck_conn.description

    return wrapped


def _described(self: Any) -> list[Any]:
    """DuckDB has told the types with the result: the statement was run once more as a DESCRIBE for that."""
    if self._columns is None:
        described: list[Any] = self._duck_conn.execute(f"DESCRIBE {self._last_sql}", self._last_params).fetchall()
        return described
    return [(name, str(kind), "YES", None, None, None) for name, kind, *_ in self._columns]
