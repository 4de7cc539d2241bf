"""By what a source tells its tenants apart, guessed from names alone: schemas that look alike, table prefixes that look alike, a column.

A guess is a proposal with its evidence, for a person to confirm: what a column holds is known to nobody here, and rows are not read.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from lab_insights.config import Layout
from lab_insights.discovery.look import Seen
from lab_insights.errors import InvalidTenant
from lab_insights.names import tenant_id

# From surest to vaguest; a shop's customer_id may well be a person rather than a tenant, so it comes late.
_DISCRIMINATORS = (
    *("tenant_id", "tenant", "tenant_key", "tenantid", "org_id", "organization_id", "organisation_id", "lab_id", "laboratory_id"),
    *("practice_id", "site_id", "company_id", "client_id", "account_id", "customer_id"),
)
# The share of tables that two schemas, or two prefixes, have in common when they hold the same application.
_ALIKE = 0.6
# The share of a schema's tables that have the column.
_MOST = 0.6
_KEY = re.compile(r"[A-Za-z0-9_-]{1,40}")


@dataclass(frozen=True)
class Proposal:
    """A layout and its keys in `lab_insights.yaml`, the tenants that were seen, by id or key, and in words why, and what to check."""

    layout: Layout
    keys: Mapping[str, str]
    tenants: tuple[str, ...]
    evidence: str
    check: str = ""


def propose(seen: Seen) -> Proposal:
    """Return the layout that the names of a source speak for; one tenant with everything when nothing does."""
    if seen.engine == "dynamodb":
        return _of_dynamodb(seen)
    schema = seen.home if seen.home in seen.schemas else max(seen.schemas, key=lambda name: (len(seen.schemas[name]), name))
    found = _by_schema(seen) or _by_prefix(schema, seen.schemas[schema]) or _by_column(schema, seen.schemas[schema])
    return found or Proposal(
        "schema",
        {"schema": _literal(schema)},
        (),
        f"nothing in {schema} ({_tables(len(seen.schemas[schema]))}) tells tenants apart, so all of it belongs to one tenant",
        "with several tenants, each would be given every row: register one only, or say here what keeps them apart",
    )


def _by_schema(seen: Seen) -> Proposal | None:
    groups = _alike({name: frozenset(tables) for name, tables in seen.schemas.items()})
    named = [found for group in groups if (found := _template(group)) is not None]
    if seen.engine == "mysql" and seen.home in seen.schemas:
        # A URL of MySQL names a schema: on a shared server the families beside it are other people's.
        named = [found for found in named if seen.home in found[2]]
    # The one that the URL points into, else the one of most schemas.
    named.sort(key=lambda found: (seen.home in found[2], len(found[2])), reverse=True)
    if not named:
        return None
    template, tenants, members = named[0]
    others = f"; {len(named) - 1} other families of schemas were seen" if len(named) > 1 else ""
    return Proposal(
        "schema",
        {"schema": template},
        tuple(tenants),
        f"{len(members)} schemas hold the same tables, such as {members[0]} and {members[1]}{others}",
        "every tenant that is registered must have such a schema",
    )


def _by_prefix(schema: str, tables: Collection[str]) -> Proposal | None:
    for words in (1, 2):
        rests: dict[str, set[str]] = {}
        for table in tables:
            pieces = table.split("_")
            if len(pieces) > words:
                rests.setdefault("_".join(pieces[:words]), set()).add("_".join(pieces[words:]))
        several = {prefix: frozenset(rest) for prefix, rest in rests.items() if len(rest) > 1}
        for group in _alike(several):
            covered = sum(len(several[prefix]) for prefix in group)
            found = _template(group)
            # A prefix's key is letters and digits: `t1_` would begin `t1_2_`'s tables, too.
            if found is None or covered < _MOST * len(tables) or not all(tenant.isalnum() for tenant in found[1]):
                continue
            template = f"{found[0].replace('{tenant}', '{key}')}_"
            return Proposal(
                "prefix",
                {"schema": _literal(schema), "prefix": template},
                tuple(found[1]),
                f"{len(group)} prefixes of {schema} hold the same tables, such as {group[0]}_ and {group[1]}_",
                "tables without such a prefix are nobody's, and are not loaded",
            )
    return None


def _by_column(schema: str, tables: Mapping[str, frozenset[str]]) -> Proposal | None:
    counts = Counter(column.lower() for columns in tables.values() for column in columns)
    likely = [name for name in _DISCRIMINATORS if counts[name] >= _MOST * len(tables)]
    if not likely:
        return None
    column = Counter(held for columns in tables.values() for held in columns if held.lower() == likely[0]).most_common(1)[0][0]
    without = sorted(table for table, columns in tables.items() if column not in columns)
    return Proposal(
        "discriminator",
        {"schema": _literal(schema), "column": column, "value": "{key}"},
        (),
        f"{len(tables) - len(without)} of {_tables(len(tables))} of {schema} have the column {column}",
        f"the column must hold the tenant's key{f'; without it, and so not loaded: {_few(without)}' if without else ''}",
    )


def _of_dynamodb(seen: Seen) -> Proposal:
    [tables] = seen.schemas.values()
    shared = [name for name in _DISCRIMINATORS if all(name in attributes for attributes in tables.values())]
    column = shared[0] if shared else "tenant_id"
    evidence = f"it is a key of {_tables(len(tables))}" if shared else "no key attribute is called like a tenant, so this is a guess"
    return Proposal("discriminator", {"column": column, "value": "{key}"}, (), evidence, "the attribute must hold the tenant's key")


def _alike(sets: Mapping[str, frozenset[str]]) -> list[list[str]]:
    """Return groups of at least two names whose sets are alike, larger groups first; each set is compared with the first of a group."""
    groups: list[list[str]] = []
    for name in sorted(sets):
        for group in groups:
            first = sets[group[0]]
            if len(first & sets[name]) >= _ALIKE * len(first | sets[name]):
                group.append(name)
                break
        else:
            groups.append([name])
    return sorted((group for group in groups if len(group) > 1), key=len, reverse=True)


def _template(names: Sequence[str]) -> tuple[str, list[str], list[str]] | None:
    """Return `before{tenant}after` or `before{key}after`, what stands in the middle of each name, and the names; None when that could be no key.

    Middles that could be tenant ids are taken for them, any other for keys.
    """
    before = _common(names)
    # `north` and `norway` are not `nor…`: what is common ends at a sign, or where digits begin.
    at_sign = re.match(r".*[^A-Za-z0-9]", before)
    at_digits = before.rstrip("0123456789")
    starts = [at_sign.group() if at_sign else ""]
    if at_digits and all(re.fullmatch(r"\d+", name[len(at_digits) :]) for name in names):
        starts = [at_digits]
    rest = [name[len(starts[0]) :] for name in names]
    after = _common([name[::-1] for name in rest])[::-1]
    ending = re.search(r"[^A-Za-z0-9].*", after)
    after = ending.group() if ending else ""
    middles = [each[: len(each) - len(after)] for each in rest]
    if len(set(middles)) < len(names) or not all(_KEY.fullmatch(middle) for middle in middles):
        return None
    word = "{tenant}" if all(map(_is_tenant_id, middles)) else "{key}"
    return f"{_literal(starts[0])}{word}{_literal(after)}", middles, list(names)


def _common(names: Sequence[str]) -> str:
    """Return what all names begin with."""
    first, last = min(names), max(names)
    same = next((index for index, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), min(len(first), len(last)))
    return first[:same]


def _is_tenant_id(text: str) -> bool:
    try:
        tenant_id(text)
    except InvalidTenant:
        return False
    return True


def _literal(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _tables(number: int) -> str:
    return f"{number} table{'' if number == 1 else 's'}"


def _few(names: Iterable[str]) -> str:
    every = list(names)
    return ", ".join(every[:5]) + (f" and {len(every) - 5} more" if len(every) > 5 else "")
