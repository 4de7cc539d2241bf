"""The local stack as a whole: brought up, looked at, taken down and purged; its state lies in one directory.

`servers/*.json` are the handles of what was started, `*.log` their output, `stack.json` what the stack remembers of
itself, `clock` the simulated time, `dagster_home` the Dagster instance with its configuration, `models` a person's own
contracts, mappings and KPIs, `snowflake` and `postgres` their data. The AWS stand-in has no files: whenever its process
is gone, so are lake, bookmarks and events, and all the rest but `models` is reset with it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lab_insights.aws import Aws
from lab_insights.local import aws as aws_stand_in
from lab_insights.local import databases, deployer, postgres, processes, settings, snowflake
from lab_insights.local.databases import Engine, Found

_DATA = ("snowflake", "dagster_home", "clock", "laboratory.json")
# The simulated week ends yesterday, so that what it writes lies in the partitions that Dagster shows.
_DAYS_BACK = 7

# So that what Spark does can be seen here. One tenant has this table: its first load is a full one, those after it are incremental.
ON_SPARK = {"crm": {"udt_instrument_log": {"engine": "spark", "ranges": 2}}}


@dataclass(frozen=True)
class Servers:
    """The database servers that were found on this machine."""

    mysql: Found
    postgresql: Found


@dataclass(frozen=True)
class Stack:
    """A running stack.

    `urls` are the source databases by engine, `lines` say what was started or reset, `first_day` is where simulated time begins, `base` starts
    the names of the source schemas.
    """

    directory: Path
    dagster_home: Path
    aws: Aws
    prefix: str
    snowflake_port: int
    urls: dict[Engine, str]
    lines: tuple[str, ...]
    first_day: date
    base: str


def base_of(directory: Path) -> str:
    """Return what the names of a stack's source schemas start with: two checkouts on one machine have two, so neither drops the other's."""
    return f"lab_insights_local_{hashlib.sha256(str(directory.resolve()).encode()).hexdigest()[:6]}"


def look() -> Servers:
    """Return which database servers are here; raise `ConfigError` for a variable whose server can not be used."""
    return Servers(databases.find("mysql"), databases.find("postgresql"))


def describe(servers: Servers, directory: Path, base: str | None = None) -> list[str]:
    """Return what `up` will use and create, a line each; nothing is touched."""
    bundled = f"PostgreSQL: started from the wheel pgserver, on the loopback; data in {postgres.place(directory)}"
    return [
        servers.mysql.line,
        *([] if servers.mysql.url else ["crm and lis: on PostgreSQL too"]),
        servers.postgresql.line,
        *([] if servers.postgresql.url else [bundled]),
        f"Source schemas: {base or base_of(directory)}_*, of this directory alone, dropped by `lab-insights local down --purge`",
        "AWS: a stand-in on the loopback; nothing is sent to Amazon",
        f"Snowflake: a stand-in on the loopback; databases in {directory / 'snowflake'}",
        f"State, configuration and logs: {directory}",
    ]


def up(directory: Path, servers: Servers | None = None, base: str | None = None) -> Stack:
    """Start what does not run, mend what is half there, and return the stack; safe to repeat.

    When the AWS stand-in lost its state (a reboot), or the databases are others than before, everything is reset
    together.
    """
    servers = servers or look()
    directory = directory.resolve()
    base = base or base_of(directory)
    directory.mkdir(parents=True, exist_ok=True)
    with _alone(directory):
        lines: list[str] = []
        urls = _databases(directory, servers, lines)
        memory = {"base": base, "servers": _shown(urls)}
        remembered = _remembered(directory)
        reason = _reset_reason(directory, remembered, memory)
        if reason:
            lines += [
                f"{reason}: Dagster, Snowflake and the sources are reset with it.",
                *_reset(directory, remembered, urls),
            ]
        endpoint = _aws(directory, lines)
        with ThreadPoolExecutor(1) as beside:
            starting = beside.submit(_snowflake, directory, endpoint.address, lines)
            stack_id = deployer.deploy(endpoint.address, settings.PREFIX)
            port = int(urlsplit(starting.result().address).port or 0)
        first_day = remembered.get("first_day") if not reason else None
        first_day = date.fromisoformat(first_day) if first_day else datetime.now(UTC).date() - timedelta(days=_DAYS_BACK)
        _remember(directory, {**memory, "stack_id": stack_id, "first_day": first_day.isoformat()})
        aws = Aws(endpoint_url=endpoint.address)
        home = settings.write(directory, base, aws, port, urls, first_day, ON_SPARK)
    return Stack(directory, home, aws, settings.PREFIX, port, urls, tuple(lines), first_day, base)


def status(directory: Path) -> list[str]:
    """Return a line for each server that the stack in `directory` started; none when it started nothing."""
    return [
        f"{handle.name}: {'running' if handle.alive() else 'not running'} at {handle.address}, log {handle.log}"
        for handle in _handles(directory)
    ]


def down(directory: Path) -> list[str]:
    """Stop every server that the stack in `directory` started, and nothing else; return a line for each.

    Files and schemas stay until the next `up`, which resets them: the lake they belong to is gone with the AWS stand-in.
    """
    return [f"{handle.name}: {'stopped' if processes.stop(handle) else 'was not running'}" for handle in reversed(_handles(directory))]


def purge(directory: Path) -> list[str]:
    """Drop the source schemas, stop the servers and delete the stack's files; return a line for each thing done."""
    servers, remembered = look(), _remembered(directory)
    bundled = processes.recorded(directory / "servers" / "postgres.json")
    urls: dict[Engine, str] = {found.engine: found.url for found in (servers.mysql, servers.postgresql) if found.url}
    if bundled and bundled.alive():
        urls["postgresql"] = bundled.address
    lines = _reset(directory, remembered, urls)
    lines += down(directory)
    shutil.rmtree(postgres.place(directory), ignore_errors=True)
    for path in (directory / "servers", directory / "lock", *directory.glob("*.log")):
        _delete(path)
    for path in (directory / settings.MODELS, directory):
        with suppress(OSError):  # somebody's own files are left where they are
            path.rmdir()
    return [*lines, f"deleted the stack's files in {directory}"]


def _reset_reason(directory: Path, remembered: dict[str, Any], memory: dict[str, Any]) -> str | None:
    if not remembered:
        return None
    endpoint = processes.recorded(directory / "servers" / "aws.json")
    if not endpoint or not endpoint.alive() or not processes.answers(f"{endpoint.address}/moto-api/lib.js"):
        return "The AWS stand-in stopped, and its lake and state with it"
    if deployer.deployed(endpoint.address, settings.PREFIX) != remembered["stack_id"]:
        return "The AWS stand-in lost its state"
    if any(remembered[key] != value for key, value in memory.items()):
        return "The source databases are others than before"
    return None


def _reset(directory: Path, remembered: dict[str, Any], urls: dict[Engine, str]) -> list[str]:
    """Stop what uses the state and forget the state; the databases' own servers keep running."""
    users = [handle for handle in _handles(directory) if Path(handle.record or "").name != "postgres.json"]
    lines = [f"{handle.name}: stopped" for handle in users if processes.stop(handle)]
    for engine, url in urls.items():
        if _shown(urls)[engine] == remembered.get("servers", {}).get(engine):  # on any other server nothing is ours
            lines += [f"{engine}: dropped schema {name}" for name in databases.drop_schemas(engine, url, remembered["base"])]
    for name in (*_DATA, "stack.json"):
        _delete(directory / name)
    return lines


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _shown(urls: dict[Engine, str]) -> dict[Engine, str]:
    return {engine: databases.shown(url) for engine, url in urls.items()}


def _databases(directory: Path, servers: Servers, lines: list[str]) -> dict[Engine, str]:
    urls: dict[Engine, str] = {found.engine: found.url for found in (servers.mysql, servers.postgresql) if found.url}
    if "postgresql" not in urls:
        record = directory / "servers" / "postgres.json"
        handle = processes.recorded(record)
        if not handle or not handle.alive():
            handle = _said(postgres.start(directory, port=_port(handle), record=record), lines)
        urls["postgresql"] = handle.address
    return urls


def _aws(directory: Path, lines: list[str]) -> processes.Handle:
    record = directory / "servers" / "aws.json"
    handle = processes.recorded(record)
    if handle and handle.alive():
        return handle
    return _said(aws_stand_in.start(directory / "aws.log", record=record), lines)


def _snowflake(directory: Path, endpoint: str, lines: list[str]) -> processes.Handle:
    record = directory / "servers" / "snowflake.json"
    handle = processes.recorded(record)
    if handle and handle.alive():
        if processes.answers(f"{handle.address}/ready"):
            return handle
        processes.stop(handle)
    data = directory / "snowflake"
    data.mkdir(exist_ok=True)
    log = directory / "snowflake.log"
    return _said(snowflake.start(data, endpoint, log, port=_port(handle), record=record), lines)


def _port(before: processes.Handle | None) -> int:
    """Return the port of a server that ended, where it is free, so that those who know its address find it again."""
    return processes.free_port(int(urlsplit(before.address).port or 0) if before else 0)


def _said(handle: processes.Handle, lines: list[str]) -> processes.Handle:
    lines.append(f"{handle.name}: started at {handle.address}, pid {handle.pid}")
    return handle


def _handles(directory: Path) -> list[processes.Handle]:
    """Return what was started, in the order in which it was."""
    records = sorted((directory / "servers").glob("*.json"), key=lambda record: record.stat().st_mtime_ns)
    return [handle for handle in map(processes.recorded, records) if handle]


def _remembered(directory: Path) -> dict[str, Any]:
    try:
        memory: dict[str, Any] = json.loads((directory / "stack.json").read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return memory


def _remember(directory: Path, memory: dict[str, Any]) -> None:
    half = directory / "stack.json.half"
    half.write_text(json.dumps(memory, indent=1))
    half.replace(directory / "stack.json")


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Let one `up` at a time work on the directory; a second one waits, then finds everything running."""
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
