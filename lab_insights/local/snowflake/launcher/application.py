"""fakesnow's HTTP application with our statements, sessions and errors around it."""

from __future__ import annotations

import gzip
import json
import traceback
from typing import Any

import duckdb
import fakesnow.server as server  # noqa: PLR0402 - `fakesnow` also has a function of that name
from snowflake.connector.errors import Error, ProgrammingError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .admin import Run, routes
from .engine import Engine
from .fast import fetch_once, merged
from .keys import refused
from .mends import mend
from .sessions import Sessions
from .shortcuts import shorten
from .statements import ACCEPTED, answered, drop_database, recorded_kind, swap, without_comments, without_policies

_QUERY = "/queries/v1/query-request"
_LOGIN = "/session/v1/login-request"
# What the admin API calls an object that is there already, and one that is not.
_STATUS = {2002: 409, 2003: 404, 2043: 404}
_UNFORESEEN = "The stand-in can not run this statement; its log says why."


def application(engine: Engine, sessions: Sessions) -> Starlette:
    """Return the application that serves `engine` to every session."""
    server.shared_fs = engine
    mend()
    shorten()
    fetch_once(engine.s3.get_file)

    async def query(request: Request) -> JSONResponse:
        token, body = _token(request), await _body(request)
        connection = server.sessions.get(token)
        if connection is None:
            unknown: JSONResponse = await server.query_request(request)
            return unknown
        sessions.seen(token, request.client)
        body["sqlText"] = await sessions.transactions(token, body["sqlText"])
        async with sessions.locks[token]:
            try:
                body["sqlText"] = await run_in_threadpool(_rewritten, engine, connection, body["sqlText"])
            except Error as error:
                return _refused(error.errno, error.sqlstate, str(error.msg))
            try:
                answer: JSONResponse = await server.query_request(_with_body(request, body))
            except Exception:  # noqa: BLE001 (a result that can not be sent, such as an unsigned number over 2**63)
                traceback.print_exc()
                return _refused(603, "XX000", _UNFORESEEN)
        return answer if answer.status_code < 500 else _refused(603, "XX000", _UNFORESEEN)

    async def login(request: Request) -> JSONResponse:
        if refused((await _body(request))["data"], await run_in_threadpool(engine.recorded, "% USER")):
            return _refused(390144, "08001", "JWT token is invalid.")
        answer: JSONResponse = await server.login_request(request)
        granted = json.loads(bytes(answer.body))
        asked = request.query_params
        granted["data"]["sessionInfo"] |= {"roleName": asked.get("roleName", "LAB_INSIGHTS"), "warehouseName": asked.get("warehouse")}
        granted["data"]["masterToken"] = granted["data"]["token"]  # without one the connector never logs out
        return JSONResponse(granted)

    async def session(request: Request) -> JSONResponse:
        if request.query_params.get("delete"):  # fakesnow leaves an open transaction to the garbage collector
            await sessions.ended(_token(request))
        answer: JSONResponse = await server.session(request)
        return answer

    handlers = {_QUERY: query, _LOGIN: login, "/session": session}
    ours = [Route(path, handler, methods=["POST"]) for path, handler in handlers.items()]
    others = [route for route in server.routes if route.path not in {route.path for route in ours}]
    ready = Route("/ready", lambda _: Response("ready"))
    return Starlette(routes=[*ours, *routes(_administrator(engine, sessions)), ready, *others])


def _administrator(engine: Engine, sessions: Sessions) -> Run:
    """Return what runs the SQL of an admin route in the session whose token it was asked with."""

    async def administer(request: Request, sql: str) -> tuple[int, str]:
        token = _token(request)
        connection = server.sessions.get(token)
        if connection is None:
            return 401, "log in again"
        async with sessions.locks[token]:
            try:
                await run_in_threadpool(lambda: connection.cursor().execute(_rewritten(engine, connection, sql)))
            except Error as error:
                return _STATUS.get(error.errno, 400), str(error.msg)
        return 200, "done"

    return administer


def _rewritten(engine: Engine, connection: Any, sql: str) -> str:
    """Return what fakesnow is to run instead of `sql`, having done or recorded what it can not."""
    stripped = without_comments(sql)
    if answer := answered(stripped):
        return answer
    if kind := recorded_kind(stripped):
        if kind == "USE ROLE" and engine.revoked(role := stripped.split()[2]):
            raise ProgrammingError(msg=f"Requested role {role} is not assigned to the executing user.", errno=3013, sqlstate="42501")
        engine.record(kind, stripped)
        return ACCEPTED
    try:
        if swap(stripped, connection) or drop_database(stripped, engine):
            return ACCEPTED
    except duckdb.Error as error:
        raise ProgrammingError(msg=str(error), errno=2003, sqlstate="42S02") from error
    if counts := merged(stripped, connection):
        return counts
    if (plain := without_policies(stripped)) != stripped:
        engine.record("COLUMN POLICY", stripped)
        return plain
    return sql


def _refused(errno: int, sqlstate: str | None, message: str) -> JSONResponse:
    code = f"{errno:06d}"
    data = {"errorCode": code, "sqlState": sqlstate}
    return JSONResponse({"data": data, "code": code, "message": message, "success": False})


def _token(request: Request) -> str:
    try:
        return str(server.to_token(request))
    except server.ServerError:
        return ""


async def _body(request: Request) -> dict[str, Any]:
    raw = await request.body()
    packed = request.headers.get("Content-Encoding") == "gzip"
    parsed: dict[str, Any] = json.loads(gzip.decompress(raw) if packed else raw)
    return parsed


def _with_body(request: Request, body: dict[str, Any]) -> Request:
    raw = json.dumps(body).encode()
    headers = [(name, value) for name, value in request.scope["headers"] if name != b"content-encoding"]

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": raw, "more_body": False}

    return Request({**request.scope, "headers": headers}, receive)
