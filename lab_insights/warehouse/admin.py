"""What provisioning does, as data: steps that Snowflake's admin API has a resource for, and SQL for the rest.

A step reads as the SQL that it stands for (`str(step)`), and is done by `snowflake.core`, which follows the session's host, port and login. Names are tuples,
outermost first, not quoted. Whoever has more to provision adds steps or plain statements to the plan (`warehouse.provision.plan`): a `str` is SQL, for what
the API lacks (policies, resource monitors) and for tables, whose DDL is that of the loads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from lab_insights.warehouse.names import identifier
from lab_insights.warehouse.session import Session
from lab_insights.warehouse.sql import literal

if TYPE_CHECKING:
    from snowflake.core import Root

Name = tuple[str, ...]
Property = str | int | tuple[str, ...]
Kind = Literal["DATABASE", "SCHEMA", "ROLE", "WAREHOUSE", "STAGE", "TAG"]
Mode = Literal["if_not_exists", "or_replace", "or_alter"]


@dataclass(frozen=True)
class Make:
    """Make an object. `or_alter` brings one that is there to these `properties`, which are the API's, texts and numbers."""

    kind: Kind
    name: Name
    properties: Mapping[str, Property] = field(default_factory=dict)
    mode: Mode = "if_not_exists"

    def __str__(self) -> str:
        told = {"or_replace": f"CREATE OR REPLACE {self.kind}", "or_alter": f"CREATE OR ALTER {self.kind}"}
        listed = [_shown(key, value) for key, value in sorted(self.properties.items())]
        return " ".join([told.get(self.mode, f"CREATE {self.kind} IF NOT EXISTS"), dotted(self.name), *listed])

    def do(self, root: Root) -> None:
        """Make it through the admin API."""
        from snowflake.core import CreateMode

        own: Any = {"name": identifier(self.name[-1]), **self.properties}
        if "allowed_values" in own:
            own["allowed_values"] = list(own["allowed_values"])
        collection, model = _collection(root, self.kind, self.name)
        if self.mode == "or_alter":
            collection[own["name"]].create_or_alter(model(**own))
        else:
            collection.create(model(**own), mode=CreateMode[self.mode])


@dataclass(frozen=True)
class Drop:
    """Drop an object that may not be there."""

    kind: Literal["DATABASE", "ROLE"]
    name: Name

    def __str__(self) -> str:
        return f"DROP {self.kind} IF EXISTS {dotted(self.name)}"

    def do(self, root: Root) -> None:
        """Drop it through the admin API."""
        _collection(root, self.kind, self.name)[0][identifier(self.name[-1])].drop(if_exists=True)


@dataclass(frozen=True)
class Grant:
    """Grant a role privileges on an object, or on `ALL` or `FUTURE` objects of a kind within the database or schema `name`."""

    privileges: tuple[str, ...]
    kind: str
    name: Name
    role: str
    every: Literal["", "ALL", "FUTURE"] = ""

    def __str__(self) -> str:
        within = f"{self.every} {self.kind}S IN {'SCHEMA' if len(self.name) > 1 else 'DATABASE'}" if self.every else self.kind
        return f"GRANT {', '.join(self.privileges)} ON {within} {dotted(self.name)} TO ROLE {identifier(self.role)}"

    def do(self, root: Root) -> None:
        """Grant it through the admin API."""
        from snowflake.core.role import ContainingScope

        to, privileges = root.roles[identifier(self.role)], list(self.privileges)
        if not self.every:
            to.grant_privileges(privileges, self.kind, _securable(self.name))
            return
        within = ContainingScope(**dict(zip(("database", "schema"), map(identifier, self.name), strict=False)))
        grant = to.grant_privileges_on_all if self.every == "ALL" else to.grant_future_privileges
        grant(privileges, self.kind, within)


@dataclass(frozen=True)
class GrantRole:
    """Grant a role to another, which may then do all that it may."""

    name: str
    role: str

    def __str__(self) -> str:
        return f"GRANT ROLE {identifier(self.name)} TO ROLE {identifier(self.role)}"

    def do(self, root: Root) -> None:
        """Grant it through the admin API."""
        root.roles[identifier(self.role)].grant_role("ROLE", _securable((self.name,)))


@dataclass(frozen=True)
class Revoke:
    """Take privileges on an object from a role."""

    privileges: tuple[str, ...]
    kind: str
    name: Name
    role: str

    def __str__(self) -> str:
        return f"REVOKE {', '.join(self.privileges)} ON {self.kind} {dotted(self.name)} FROM ROLE {identifier(self.role)}"

    def do(self, root: Root) -> None:
        """Revoke it through the admin API."""
        root.roles[identifier(self.role)].revoke_privileges(list(self.privileges), self.kind, _securable(self.name))


@dataclass(frozen=True)
class TagDatabase:
    """Set a tag (database, schema and name) on a database."""

    database: str
    tag: tuple[str, str, str]
    value: str

    def __str__(self) -> str:
        return f"ALTER DATABASE {identifier(self.database)} SET TAG {dotted(self.tag)} = {literal(self.value)}"

    def do(self, root: Root) -> None:
        """Set it through the admin API."""
        from snowflake.core.tag import TagValue

        of, schema, name = map(identifier, self.tag)
        root.databases[identifier(self.database)].set_tags({root.databases[of].schemas[schema].tags[name]: TagValue(self.value)})


Resource = Make | Drop | Grant | GrantRole | Revoke | TagDatabase
Step = Resource | str
Done = Callable[[Step], None]


def apply(session: Session, steps: Iterable[Step], done: Done = lambda _: None) -> int:
    """Do each step in its order, tell `done` of it, and return how many there were; every step may be done again."""
    count = 0
    for count, step in enumerate(steps, 1):  # noqa: B007 (the last number is how many there were)
        if isinstance(step, str):
            session.execute(step)
        else:
            session.administer(str(step), step.do)
        done(step)
    return count


def means(step: Step) -> str:
    """Return through what a step is done."""
    return "SQL" if isinstance(step, str) else "admin API"


def dotted(name: Iterable[str]) -> str:
    """Return a quoted name with what it lies in."""
    return ".".join(map(identifier, name))


def _shown(key: str, value: Property) -> str:
    if isinstance(value, tuple):
        return f"{key.upper()} {', '.join(map(literal, value))}"
    return f"{key.upper()} = {literal(str(value)) if key == 'url' else str(value).upper()}"


def _securable(name: Name) -> Any:
    from snowflake.core.role import Securable

    *place, own = map(identifier, name)
    return Securable(name=own, **dict(zip(("database", "schema"), place, strict=False)))


def _collection(root: Root, kind: Kind, name: Name) -> tuple[Any, Any]:
    """Return the collection that an object of this name lies in, and its model."""
    from snowflake.core.database import Database
    from snowflake.core.role import Role
    from snowflake.core.schema import Schema
    from snowflake.core.stage import Stage
    from snowflake.core.tag import Tag
    from snowflake.core.warehouse import Warehouse

    place = [identifier(each) for each in name[:-1]]
    match kind:
        case "DATABASE":
            return root.databases, Database
        case "ROLE":
            return root.roles, Role
        case "WAREHOUSE":
            return root.warehouses, Warehouse
        case "SCHEMA":
            return root.databases[place[0]].schemas, Schema
        case "STAGE":
            return root.databases[place[0]].schemas[place[1]].stages, Stage
        case "TAG":
            return root.databases[place[0]].schemas[place[1]].tags, Tag
