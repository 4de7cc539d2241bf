"""The object store: one winner for a new name, nothing for an absent one."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ResponseStreamingError
from botocore.response import StreamingBody

from lab_insights.lake import storage
from lab_insights.lake.commit import Lake
from lab_insights.lake.storage import ObjectExists
from lab_insights.names import TenantId
from lab_insights_tests.lake.world import watched


def test_a_new_object_is_written_once(lake: Lake, tenant: TenantId) -> None:
    lake.storage.put_new("raw", f"{tenant}/once", b"first")
    with pytest.raises(ObjectExists):
        lake.storage.put_new("raw", f"{tenant}/once", b"second")
    assert lake.storage.get("raw", f"{tenant}/once") == b"first"


def test_what_is_absent_is_none(lake: Lake, tenant: TenantId) -> None:
    assert lake.storage.get("raw", f"{tenant}/no") is None
    assert lake.storage.sha256("raw", f"{tenant}/no") is None
    assert lake.storage.manifest("raw", f"{tenant}/no") is None


def test_an_object_of_several_blocks_arrives_whole(lake: Lake, tenant: TenantId) -> None:
    body = bytes(range(256)) * 12_000  # 3 MB, more than one block
    file = io.BytesIO(body)
    lake.storage.upload("raw", f"{tenant}/large", file)
    assert not file.closed
    got = io.BytesIO()
    lake.storage.download("raw", f"{tenant}/large", got)
    assert got.getvalue() == body
    assert lake.storage.sha256("raw", f"{tenant}/large") == (hashlib.sha256(body).hexdigest(), len(body))


def test_a_stream_that_breaks_off_is_taken_up_where_it_broke(lake: Lake, tenant: TenantId, monkeypatch: pytest.MonkeyPatch) -> None:
    body = bytes(range(256)) * 12_000
    lake.storage.put("raw", f"{tenant}/broken", body)
    honest, begun = StreamingBody.iter_chunks, list[int]()

    def broken(self: StreamingBody, size: int) -> Iterator[bytes]:
        begun.append(1)
        for block in honest(self, size):
            yield block
            if len(begun) < 3:
                raise ResponseStreamingError(error="broken off")

    monkeypatch.setattr(StreamingBody, "iter_chunks", broken)
    got = io.BytesIO()
    lake.storage.download("raw", f"{tenant}/broken", got)
    assert (got.getvalue() == body, len(begun)) == (True, 3)
    monkeypatch.setattr(storage, "_STREAMS", 2)
    begun.clear()
    with pytest.raises(ResponseStreamingError):
        lake.storage.download("raw", f"{tenant}/broken", io.BytesIO())


def test_a_part_is_downloaded_by_one_request(lake: Lake, tenant: TenantId) -> None:
    lake.storage.put("raw", f"{tenant}/one", b"1")
    with watched(lake.storage.aws) as calls:
        lake.storage.download("raw", f"{tenant}/one", io.BytesIO())
    assert calls.made == ["GetObject"]


def test_what_lies_below_a_prefix_is_listed_in_order_with_its_size_and_time(lake: Lake, tenant: TenantId) -> None:
    for name in "cab":
        lake.storage.put("raw", f"{tenant}/{name}", name.encode() * 3)
    lake.storage.put("raw", f"{tenant}x/other", b"")
    found = list(lake.storage.stored("raw", f"{tenant}/"))
    assert [(each.key, each.bytes) for each in found] == [(f"{tenant}/{name}", 3) for name in "abc"]
    assert all(datetime.now(UTC) - each.put_at < timedelta(minutes=5) for each in found)
    lake.storage.delete("raw", f"{tenant}/b")
    assert [each.key for each in lake.storage.stored("raw", f"{tenant}/")] == [f"{tenant}/a", f"{tenant}/c"]
    assert [lake.storage.size("raw", f"{tenant}/{name}") for name in "ab"] == [3, None]
