"""What every batch must be, whatever its layer: a manifest that agrees with the status table, and parts that are the bytes it names."""

from __future__ import annotations

import hashlib
import io
import tempfile
from collections.abc import Iterator
from typing import IO

from lab_insights.findings import Fault
from lab_insights.lake.commit import Lake
from lab_insights.lake.committed import Committed
from lab_insights.lake.layout import Layer
from lab_insights.lake.manifest import Manifest, Part
from lab_insights.lake.storage import Storage
from lab_insights.lake.tables import SMALL

RESTORE = "restore the object's last good version (its bucket keeps versions), or materialize raw for this day with `reload: true`"


def batch_faults(lake: Lake, batch: Committed, manifest: Manifest | None) -> Iterator[Fault]:
    """Yield what is wrong with a committed batch as it lies there."""
    if manifest is None:
        yield Fault("broken", f"the manifest of batch {batch.batch_id} is gone", RESTORE)
        return
    if (manifest.partition, manifest.batch_id) != (batch.partition, batch.batch_id):
        yield Fault("broken", f"the manifest of batch {batch.batch_id} names another batch", RESTORE)
    if manifest.rows != batch.rows:
        yield Fault("broken", f"the manifest of batch {batch.batch_id} says {manifest.rows} rows, {batch.rows} were committed", RESTORE)
    if sum(part.rows for part in manifest.parts) != manifest.rows:
        yield Fault("broken", f"the parts of batch {batch.batch_id} do not add up to its {manifest.rows} rows", RESTORE)
    for part in manifest.parts:
        if wrong := _part_fault(lake.storage, manifest.layer, part):
            yield Fault("broken", f"part {part.key.rpartition('/')[2]} {wrong}", RESTORE)


def _part_fault(storage: Storage, layer: Layer, part: Part) -> str | None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = _opened(storage, layer, part)
    if file is None:
        return "is gone"
    with file:
        if _sha256(file) != part.sha256:
            return "is not the object that was committed (its SHA-256 differs)"
        file.seek(0)
        try:
            rows = pq.read_metadata(file).num_rows
        except (pa.ArrowException, OSError):
            return "is not parquet"
    return None if rows == part.rows else f"has {rows} rows where its manifest says {part.rows}"


def _opened(storage: Storage, layer: Layer, part: Part) -> IO[bytes] | None:
    from botocore.exceptions import ClientError

    if part.bytes <= SMALL:
        body = storage.get(layer, part.key)
        return None if body is None else io.BytesIO(body)
    file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (closed by the caller)
    try:
        storage.download(layer, part.key, file)
    except ClientError as error:
        file.close()
        if error.response["Error"]["Code"] in {"NoSuchKey", "404"}:
            return None
        raise
    return file


def _sha256(file: IO[bytes]) -> str:
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
