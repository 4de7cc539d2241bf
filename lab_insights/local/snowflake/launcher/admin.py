"""The routes of Snowflake's admin (REST) API that provisioning uses: each becomes the SQL that it stands for, and runs as that of its session."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .statements import identifiers, quoted

_API = "/api/v2"
Asked = Mapping[str, str]
Build = Callable[[Asked, Any], str]
Run = Callable[[Request, str], Awaitable[tuple[int, str]]]
# Bodies repeat what the path says, and defaults.
_NO_PROPERTY = {"name", "kind", "allowed_values"}


def routes(run: Run) -> list[Route]:
    """Return the routes; `run` runs a statement in the session of a request and returns an HTTP status and a message."""

    def route(method: str, path: str, build: Build) -> Route:
        async def handle(request: Request) -> Response:
            raw = await request.body()
            status, message = await run(request, build({**request.query_params, **request.path_params}, json.loads(raw) if raw else {}))
            told = {"status": message} if status < 400 else {"code": str(status), "message": message, "request_id": ""}
            return JSONResponse(told, status)

        return Route(_API + path, handle, methods=[method])

    schemas = "/databases/{database}/schemas"
    return [
        route("POST", "/databases", _creates("DATABASE")),
        route("DELETE", "/databases/{name}", _drops("DATABASE")),
        route("POST", "/databases/{name}:set-tags", _tags),
        route("POST", schemas, _creates("SCHEMA", "database")),
        route("POST", schemas + "/{schema}/stages", _creates("STAGE", "database", "schema")),
        route("POST", schemas + "/{schema}/tags", _creates("TAG", "database", "schema")),
        route("POST", "/roles", _creates("ROLE")),
        route("DELETE", "/roles/{name}", _drops("ROLE")),
        route("POST", "/roles/{name}/grants", lambda asked, body: _granted(asked, body, "ALL")),
        route("POST", "/roles/{name}/future-grants", lambda asked, body: _granted(asked, body, "FUTURE")),
        route("POST", "/roles/{name}/grants:revoke", _revoked),
        route("POST", "/warehouses", _creates("WAREHOUSE")),
        route("PUT", "/warehouses/{name}", lambda asked, body: f"CREATE OR ALTER WAREHOUSE {_name(asked['name'])}{_properties(body)}"),
    ]


def _creates(kind: str, *place: str) -> Build:
    def build(asked: Asked, body: Any) -> str:
        words = {"ifNotExists": f"CREATE {kind} IF NOT EXISTS", "orReplace": f"CREATE OR REPLACE {kind}"}
        name = _name(*(asked[part] for part in place), body["name"])
        return f"{words.get(asked.get('createMode', ''), f'CREATE {kind}')} {name}{_properties(body)}"

    return build


def _drops(kind: str) -> Build:
    return lambda asked, _: f"DROP {kind} {'IF EXISTS ' if asked.get('ifExists', '').lower() == 'true' else ''}{_name(asked['name'])}"


def _tags(asked: Asked, body: Any) -> str:
    set_ = ", ".join(f"{_name(tag['tag_database'], tag['tag_schema'], tag['tag_name'])} = {_literal(tag['tag_value'])}" for tag in body)
    return f"ALTER DATABASE {_name(asked['name'])} SET TAG {set_}"


def _granted(asked: Asked, body: Any, every: str) -> str:
    return f"GRANT {_what(body, every)} TO ROLE {_name(asked['name'])}"


def _revoked(asked: Asked, body: Any) -> str:
    return f"REVOKE {_what(body, 'ALL')} FROM ROLE {_name(asked['name'])}"


def _what(body: Any, every: str) -> str:
    kind, privileges = body["securable_type"].upper(), ", ".join(body.get("privileges") or ())
    if within := body.get("containing_scope"):
        place = "SCHEMA" if within.get("schema") else "DATABASE"
        return f"{privileges} ON {every} {kind}S IN {place} {_place(within)}"
    its = _place(body["securable"])
    return f"{privileges} ON {kind} {its}" if privileges else f"{kind} {its}"


def _place(held: Any) -> str:
    return _name(*(held[part] for part in ("database", "schema", "name") if held.get(part)))


def _properties(body: Any) -> str:
    shown = [
        f"{key.upper()} = {_literal(value) if key == 'url' else str(value).upper()}"
        for key, value in sorted(body.items())
        if value is not None and key not in _NO_PROPERTY
    ]
    if values := body.get("allowed_values"):
        shown.append(f"ALLOWED_VALUES {', '.join(map(_literal, values))}")
    return "".join(f" {each}" for each in shown)


def _name(*parts: str) -> str:
    return ".".join(quoted(identifiers(part)[0]) for part in parts)


def _literal(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
