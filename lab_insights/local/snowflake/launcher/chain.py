"""fakesnow's chain of transforms, run only where it can change a tree: it walks every tree seventy times."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlglot import expressions

exp: Any = expressions  # of a later sqlglot than the one whose types the product is checked with
_TYPE = exp.DataType.Type
_UNQUOTED = "an unquoted identifier that is not in upper case"
_UNNAMED = "a function whose name is quoted"
Marks = set[Any]
# What a tree must hold for a transform to change it: of each set one. The first is of what the transform is about: classes,
# texts (in upper case) and kinds of data types that stand in the `this` of a node, and the kind of a `CREATE` or `DROP`.
# A transform that is not listed always runs.
_SHOWN = ({exp.Show, exp.Command},)
_INTEGERS = {_TYPE.DECIMAL, _TYPE.INT, _TYPE.SMALLINT, _TYPE.TINYINT}
_ACTS_ON: dict[str, tuple[Marks, ...]] = {
    "identifier": ({exp.Table}, {"IDENTIFIER", exp.DynamicIdentifier}),
    "upper_case_unquoted_identifiers": ({exp.Identifier}, {_UNQUOTED}),
    "alter_session": ({exp.Alter},),
    "update_variables": ({exp.Set, exp.Alias}, {exp.Set, "UNSET"}),
    "current_version": ({exp.CurrentVersion},),
    "set_schema": ({exp.Use},),
    "create_database": ({exp.Create}, {"DATABASE"}),
    "extract_comment_on_table": ({exp.Create, exp.Comment, exp.Alter}, {exp.Properties, exp.Comment, exp.AlterSet}),
    "extract_comment_on_columns": ({exp.Alter},),
    "information_schema_fs": ({exp.Table}, {"INFORMATION_SCHEMA"}),
    "information_schema_databases": ({exp.Table}, {"DATABASES"}),
    "drop_schema_cascade": ({exp.Drop},),
    "tag": ({exp.Alter, exp.Command, exp.Create, exp.Drop}, {exp.AlterSet, exp.Command, "TAG"}),
    "semi_structured_types": ({exp.DataType}, {_TYPE.ARRAY, _TYPE.OBJECT, _TYPE.VARIANT}),
    "try_parse_json": ({exp.Anonymous}, {"TRY_PARSE_JSON"}),
    "split": ({exp.Split},),
    "trim_cast_varchar": ({exp.Trim},),
    "indices_to_json_extract": ({exp.Bracket},),
    "json_extract_cast_as_varchar": ({exp.Cast}, {exp.JSONExtract}),
    "json_extract_cased_as_varchar": ({exp.Upper, exp.Lower}, {exp.JSONExtract}),
    "json_extract_precedence": ({exp.JSONExtract, exp.JSONExtractScalar},),
    "flatten_value_cast_as_varchar": ({exp.Cast}, {exp.Explode}),
    "flatten": ({exp.Lateral, exp.TableFromRows}, {exp.Explode}),
    "regex_replace": ({exp.RegexpReplace},),
    "regex_substr": ({exp.RegexpExtract},),
    "result_scan": ({exp.Select}, {exp.TableFromRows}),
    "sequence_nextval": ({exp.Column}, {"NEXTVAL"}),
    "values_columns": ({exp.Values},),
    "to_date": ({exp.Anonymous}, {"TO_DATE"}),
    "timestamp_offsets": ({exp.Cast}, {_TYPE.TIMESTAMPTZ, _TYPE.TIMESTAMPLTZ}),
    "to_decimal": ({exp.ToNumber},),
    "to_timestamp": (
        {exp.UnixToTime, exp.Anonymous, exp.Cast},
        {exp.UnixToTime, "TO_TIMESTAMP", "TO_TIMESTAMP_NTZ", _TYPE.TIMESTAMP, _TYPE.TIMESTAMPNTZ},
    ),
    "to_variant": ({exp.ToVariant},),
    "object_construct": ({exp.StarMap, exp.Struct, exp.JSONObject},),
    "timestamp_ntz": ({exp.DataType}, {_TYPE.TIMESTAMPNTZ}),
    "float_to_double": ({exp.DataType}, {_TYPE.FLOAT}),
    "integer_precision": (_INTEGERS,),
    "extract_text_length": ({exp.Create, exp.Alter},),
    "sample": ({exp.TableSample},),
    "array_size": ({exp.ArraySize},),
    "random": ({exp.Select}, {exp.Rand}),
    "array_agg_within_group": ({exp.WithinGroup},),
    "array_agg": ({exp.ArrayAgg, exp.Window}, {exp.ArrayAgg}),
    "object_agg": ({exp.ObjectAgg},),
    "array_construct_etc": ({exp.ArrayConstructCompact, exp.Array, exp.ArrayConcat},),
    "dateadd_date_cast": ({exp.DateAdd},),
    "dateadd_string_literal_timestamp_cast": ({exp.DateAdd},),
    "datediff_string_literal_timestamp_cast": ({exp.DateDiff},),
    **dict.fromkeys(("show_databases", "show_functions", "show_procedures", "show_parameters", "show_warehouses", "show_schemas"), _SHOWN),
    **dict.fromkeys(("show_tables_etc", "show_columns", "show_stages", "show_sequences", "show_keys", "show_users"), _SHOWN),
    "create_user": ({exp.Command},),
    "haversine": ({exp.Anonymous}, {"HAVERSINE"}),
    "hex_string": ({exp.HexString},),
    "sha256": ({exp.SHA2, exp.SHA2Digest, exp.Anonymous}, {exp.SHA2, exp.SHA2Digest, "SHA2_HEX", "SHA2_BINARY", _UNNAMED}),
    "create_clone": ({exp.Create}, {exp.Clone}),
    "alias_in_join": ({exp.Select}, {exp.Join}),
    "alias_in_where": ({exp.Select}, {"_FS_OBJECT_CONSTRUCT"}),
    "alter_table_strip_cluster_by": ({exp.Alter, exp.Command},),
    "numeric_agg_implicit_cast": ({exp.Avg, exp.Variance, exp.Stddev, exp.StddevSamp, exp.StddevPop, exp.VariancePop, exp.Median},),
    "create_stage": ({exp.Create}, {"STAGE"}),
    "create_file_format": ({exp.Create}, {"FILE FORMAT"}),
    "list_stage": ({exp.ListStage},),
    "put_stage": ({exp.Put},),
    "create_table_as": ({exp.Create}, {exp.Select, exp.Subquery}),
}
# After these no later transform has more to act on.
_ADDS_NOTHING = {"upper_case_unquoted_identifiers", "timestamp_ntz", "float_to_double", "integer_precision", "extract_text_length"}
# What changes something beside the tree, or reads the session's state.
_STATEFUL = {exp.Create, exp.Alter, exp.Drop, exp.Command, exp.Show, exp.Use, exp.Merge, exp.Put, exp.ListStage, exp.Copy}
_READING = ("identifier", "update_variables", "information_schema_databases")


class Chain:
    """A tree on its way through fakesnow's transforms, which walk it only where they can change it."""

    def __init__(self, tree: Any) -> None:
        self.tree = tree
        self._all, self._inner = _marks(tree)

    def transform(self, change: Callable[..., Any], *, copy: bool, **options: Any) -> Chain:
        """Apply a change to every node, as sqlglot's own `transform` does."""
        name = _name(change)
        if not _may_act(name, self._all):
            return self
        if name and self._inner.isdisjoint(_ACTS_ON[name][0]):
            self.tree = change(self.tree, **options)
        else:
            self.tree = self.tree.transform(change, copy=copy, **options)
        if name not in _ADDS_NOTHING:
            self._all, self._inner = _marks(self.tree)
        return self


def depends(tree: Any) -> bool:
    """Return whether more than the text decides what becomes of a tree: the session's state, or a value that is bound."""
    marks = _marks(tree)[0]
    return not marks.isdisjoint(_STATEFUL) or any(_may_act(of, marks) for of in _READING)


def _may_act(name: str, marks: Marks) -> bool:
    return not any(marks.isdisjoint(needed) for needed in _ACTS_ON.get(name, ()))


def _name(change: Callable[..., Any]) -> str:
    """Return the name of a transform, also of one that a lambda of the chain calls."""
    code = change.__code__
    return change.__name__ if change.__name__ in _ACTS_ON else next((name for name in code.co_names if name in _ACTS_ON), "")


def _marks(root: Any) -> tuple[Marks, Marks]:
    """Return what `_ACTS_ON` speaks of: of the whole tree, and of all but its root."""
    below: list[Any] = []
    outer: Marks = set()
    _mark(root, outer, below)
    inner: Marks = set()
    while below:
        _mark(below.pop(), inner, below)
    for marks in (outer, inner):
        marks.update(*(kind.__mro__ for kind in marks if isinstance(kind, type)))
    return outer | inner, inner


def _mark(node: Any, marks: Marks, below: list[Any]) -> None:
    """Add what stands in one node, and to `below` the nodes below it."""
    marks.add(type(node))
    for value in node.args.values():
        if isinstance(value, exp.Expr):
            below.append(value)
        elif isinstance(value, list):
            below.extend(each for each in value if isinstance(each, exp.Expr))
    this, kind = node.args.get("this"), node.args.get("kind")
    if isinstance(this, str):
        marks.add(this.upper())
        if type(node) is exp.Identifier and not node.args.get("quoted") and this != this.upper():
            marks.add(_UNQUOTED)
    elif isinstance(this, _TYPE):
        marks.add(this)
    elif isinstance(node, exp.Anonymous):
        marks.add(_UNNAMED)
    if isinstance(kind, str):
        marks.add(kind.upper())
