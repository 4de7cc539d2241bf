"""The AWS stand-in's process: moto's own server with some of its habits mended. Run as `python -m lab_insights.local.moto_server PORT`.

moto 5.2.5 copies a whole DynamoDB table for every item of a transaction, so that a commit's cost grows with all commits before it (20 ms at first,
270 ms after 300), and a transaction that fails puts the whole copy back, undoing what others wrote meanwhile. Here only the items that a
transaction names are kept and put back, one DynamoDB call at a time. A query reads and sorts the whole table (60% of the server's time in the demo),
sending to a queue counts all its messages (9%), receiving asks for each message what the queue is like, and every request lists moto's own directory
(13%): here a query reads its range of its partition, sending and receiving count nothing, and the directory is listed once. An item's value is looked
for under all ten names of types and their spellings (13%), an update is parsed each time (4%), and the headers of a request as an e-mail's (6%).
"""

from __future__ import annotations

import copy
import functools
import gc
import http.client
import io
import logging
import sys
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, BinaryIO

from moto import backends
from moto.core.serialize import BaseJSONSerializer
from moto.dynamodb import models
from moto.dynamodb.models.dynamo_type import DynamoType
from moto.dynamodb.models.table import Table
from moto.dynamodb.parsing.expressions import UpdateExpressionParser  # type: ignore[attr-defined]
from moto.moto_server.werkzeug_app import MotoRequestHandler
from moto.server import main
from moto.sqs.models import Queue, SQSBackend
from werkzeug.exceptions import InternalServerError
from werkzeug.test import run_wsgi_app

from lab_insights.local import moto_iam

_ONE_AT_A_TIME = threading.RLock()
_INDEX_NAME = 4  # the place of `index_name` among the arguments of Table.query after the range's bounds
# Types whose values are told as they are kept; others hold bytes, or values.
_PLAIN = frozenset({"S", "N", "BOOL", "NULL", "SS", "NS"})
# A read in the middle of an update finds an item that has only its key yet.
_IN_TURN = ("put_item", "update_item", "delete_item", "get_item")


def mend() -> None:
    """Replace moto's transactions and make its writes take turns."""
    backend = models.DynamoDBBackend
    original = backend.transact_write_items
    models.copy = SimpleNamespace(copy=copy.copy, deepcopy=lambda value: value if isinstance(value, Table) else copy.deepcopy(value))  # type: ignore[attr-defined,assignment]

    def transact_write_items(self: models.DynamoDBBackend, transact_items: list[dict[str, Any]]) -> None:
        with _ONE_AT_A_TIME:
            before = [_kept(self, next(iter(item.values()))) for item in transact_items]
            try:
                original(self, transact_items)
            except Exception:
                for put_back in before:
                    put_back()
                raise

    backend.transact_write_items = transact_write_items  # type: ignore[method-assign]
    for name in _IN_TURN:
        setattr(backend, name, _in_turn(getattr(backend, name)))
    _mend_queries()
    _mend_items()
    _mend_sending()
    moto_iam.mend()
    _mend_answering()
    modules = frozenset(backends.list_of_moto_modules())
    backends.list_of_moto_modules = lambda: modules


def _mend_answering() -> None:
    """Keep connections: werkzeug 3.1 closes each, not knowing whether the application has read the whole request. Here it is read before."""

    def run_wsgi(self: MotoRequestHandler) -> None:
        if self.headers.get("Expect", "").lower() == "100-continue":
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.wfile.flush()
        environ = self.make_environ()
        # what is sent in chunks says itself where it ends
        length = -1 if environ.get("wsgi.input_terminated") else int(self.headers.get("Content-Length") or 0)
        environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read(length))
        try:
            chunks, status, headers = run_wsgi_app(self.server.app, environ, buffered=True)
        except Exception:
            logging.getLogger("moto").exception("%s %s", self.command, self.path)
            chunks, status, headers = run_wsgi_app(InternalServerError(), environ, buffered=True)
        body = b"".join(chunks)
        code, _, reason = status.partition(" ")
        self.send_response(int(code), reason)
        for name, value in headers:
            self.send_header(name, value)
        if "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    http.client.parse_headers = _parse_headers  # type: ignore[assignment]
    MotoRequestHandler.run_wsgi = run_wsgi  # type: ignore[method-assign,assignment]
    MotoRequestHandler.protocol_version = "HTTP/1.1"
    MotoRequestHandler.wbufsize = -1  # an answer is one packet
    MotoRequestHandler.disable_nagle_algorithm = True


def _parse_headers(lines: BinaryIO, _class: type[http.client.HTTPMessage] = http.client.HTTPMessage) -> http.client.HTTPMessage:
    headers = _class()
    while line := lines.readline().strip():
        name, _, value = line.decode("latin-1").partition(":")
        headers[name] = value.strip()
    return headers


def _mend_items() -> None:
    structure = BaseJSONSerializer._serialize_type_structure  # noqa: SLF001 (there is no public way)

    def serialize(self: BaseJSONSerializer, serialized: Any, value: Any, shape: Any, key: str) -> None:
        if shape.name == "AttributeValue" and _PLAIN.issuperset(value):
            serialized[key] = value
        else:
            structure(self, serialized, value, shape, key)

    BaseJSONSerializer._serialize_type_structure = serialize  # type: ignore[method-assign] # noqa: SLF001
    # Whoever is given a tree works on a copy of it.
    parse = UpdateExpressionParser.make
    UpdateExpressionParser.make = functools.lru_cache(parse)


def _mend_queries() -> None:
    within = threading.local()
    query, all_items = Table.query, Table.all_items

    def partition_query(
        self: Table, hash_key: DynamoType, compared: str | None, bounds: list[DynamoType], *args: Any, **kwargs: Any
    ) -> Any:
        if args[_INDEX_NAME]:
            return query(self, hash_key, compared, bounds, *args, **kwargs)
        within.partition, within.wanted = hash_key, lambda item: not compared or item.range_key.compare(compared, bounds)
        try:
            return query(self, hash_key, compared, bounds, *args, **kwargs)
        finally:
            del within.partition

    def items(self: Table) -> Any:
        hash_key = getattr(within, "partition", None)
        if hash_key is None or not self.range_key_attr:
            return all_items(self)
        return [item for item in list(self.items.get(hash_key, {}).values()) if within.wanted(item)]

    Table.query, Table.all_items = partition_query, items  # type: ignore[method-assign,assignment]


def _mend_sending() -> None:
    within = threading.local()
    send = SQSBackend.send_message

    def send_message(self: SQSBackend, *args: Any, **kwargs: Any) -> Any:
        within.sending = True
        try:
            return send(self, *args, **kwargs)
        finally:
            within.sending = False

    SQSBackend.send_message = send_message  # type: ignore[method-assign]
    # No server of ours runs for the days that a message is kept.
    SQSBackend.is_message_valid_based_on_retention_period = lambda *_: True  # type: ignore[method-assign]
    for name in ("approximate_number_of_messages", "approximate_number_of_messages_delayed", "approximate_number_of_messages_not_visible"):
        setattr(Queue, name, property(_unless(within, getattr(Queue, name).fget)))


def _unless(within: threading.local, count: Callable[[Queue], int]) -> Callable[[Queue], int]:
    return lambda queue: 0 if getattr(within, "sending", False) else count(queue)


def _kept(backend: models.DynamoDBBackend, operation: dict[str, Any]) -> Callable[[], None]:
    """Return what puts the operation's item back as it is now."""
    table = backend.get_table(operation["TableName"])
    attributes = operation.get("Key") or operation["Item"]
    hashed = DynamoType(attributes[table.hash_key_attr])
    ranged = DynamoType(attributes[table.range_key_attr]) if table.range_key_attr else None
    item = copy.deepcopy(table.get_item(hashed, ranged))

    def put_back() -> None:
        if item is None:
            table.delete_item(hashed, ranged)
        elif ranged is None:
            table.items[hashed] = item  # type: ignore[assignment]
        else:
            table.items[hashed][ranged] = item

    return put_back


def _in_turn(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def taking_turns(*args: Any, **kwargs: Any) -> Any:
        with _ONE_AT_A_TIME:
            return method(*args, **kwargs)

    return taking_turns


if __name__ == "__main__":
    mend()
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    gc.freeze()  # the collector walks through all services' descriptions again and again otherwise
    gc.set_threshold(50_000)  # and few cycles come of a request
    main(["-H", "127.0.0.1", "-p", sys.argv[1]])
