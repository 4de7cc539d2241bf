"""S3, as the lake uses it: conditional puts, exact reads, and Arrow datasets over named parts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import IO, TYPE_CHECKING, Any

from lab_insights.aws import DENIED, Aws
from lab_insights.config import PhiSection
from lab_insights.lake.layout import Layer
from lab_insights.lake.manifest import Manifest

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.dataset as pads
    from botocore.exceptions import ClientError


# How often a download may begin: a connection that breaks off in every one of them is no accident.
_STREAMS = 4


class ObjectExists(Exception):
    """A conditional put found an object under its key."""


@dataclass(frozen=True)
class Stored:
    """An object as a listing shows it; `put_at` is by the clock of the object store."""

    key: str
    bytes: int
    put_at: datetime


@dataclass(frozen=True)
class Storage:
    """The lake's buckets, one a layer, named from the deployment's prefix, and what the deployment says of the PHI in them."""

    aws: Aws
    prefix: str
    phi: PhiSection = field(default_factory=PhiSection, compare=False, repr=False, kw_only=True)

    @property
    def _s3(self) -> Any:
        return self.aws.client("s3")

    def bucket(self, layer: Layer | str) -> str:
        """Return the bucket of a layer (or of `reports`)."""
        return f"{self.prefix}-{layer}"

    def uri(self, layer: Layer | str, key: str) -> str:
        """Return `s3://bucket/key`."""
        return f"s3://{self.bucket(layer)}/{key}"

    def put_new(self, layer: Layer | str, key: str, body: bytes) -> None:
        """Write an object that must not exist; raise `ObjectExists` when it does."""
        from botocore.exceptions import ClientError

        try:
            self._s3.put_object(Bucket=self.bucket(layer), Key=key, Body=body, IfNoneMatch="*")
        except ClientError as error:
            if error.response["Error"]["Code"] in {"PreconditionFailed", "412"}:
                raise ObjectExists(key) from None
            raise

    def put(self, layer: Layer | str, key: str, body: bytes, content_type: str = "application/octet-stream") -> None:
        """Write an object, replacing what was there: only for keys that no manifest names yet."""
        self._s3.put_object(Bucket=self.bucket(layer), Key=key, Body=body, ContentType=content_type)

    def upload(self, layer: Layer, key: str, file: IO[bytes]) -> None:
        """Write an object from an open file of any size, which stays open."""
        # upload_fileobj closes a file it is given; the transfer manager is also slower than one put for what fits in one.
        self._s3.put_object(Bucket=self.bucket(layer), Key=key, Body=file)

    def download(self, layer: Layer, key: str, file: IO[bytes]) -> None:
        """Read an object into an open empty file, in bounded memory; a stream that breaks off is taken up where it broke."""
        from botocore.exceptions import HTTPClientError, IncompleteReadError

        of, done, broken = {"Bucket": self.bucket(layer), "Key": key}, 0, 0
        asked: dict[str, str] = {}
        while True:
            got = self._s3.get_object(**of, **asked)
            try:
                for block in got["Body"].iter_chunks(1 << 20):
                    file.write(block)
                    done += len(block)
            except (HTTPClientError, IncompleteReadError):
                broken += 1
                if broken == _STREAMS:
                    raise
                asked = {"Range": f"bytes={done}-", "IfMatch": got["ETag"]}
            else:
                return

    def size(self, layer: Layer, key: str) -> int | None:
        """Return an object's length, or None when there is none."""
        from botocore.exceptions import ClientError

        try:
            return int(self._s3.head_object(Bucket=self.bucket(layer), Key=key)["ContentLength"])
        except ClientError as error:
            if self._absent(error, layer, key):
                return None
            raise

    def get(self, layer: Layer | str, key: str) -> bytes | None:
        """Return an object's bytes, or None when there is none."""
        from botocore.exceptions import ClientError

        try:
            return bytes(self._s3.get_object(Bucket=self.bucket(layer), Key=key)["Body"].read())
        except ClientError as error:
            if self._absent(error, layer, key):
                return None
            raise

    def sha256(self, layer: Layer, key: str) -> tuple[str, int] | None:
        """Return digest and length of an object, streamed, or None when there is none."""
        from botocore.exceptions import ClientError

        try:
            body = self._s3.get_object(Bucket=self.bucket(layer), Key=key)["Body"]
        except ClientError as error:
            if self._absent(error, layer, key):
                return None
            raise
        digest, length = hashlib.sha256(), 0
        for block in body.iter_chunks(1 << 20):
            digest.update(block)
            length += len(block)
        return digest.hexdigest(), length

    def _absent(self, error: ClientError, layer: Layer | str, key: str) -> bool:
        """Whether an error says that there is no such object.

        S3 says so only to those who may list the whole bucket; a tenant's session may list its own prefix, and is refused what is not there.
        """
        code = error.response["Error"]["Code"]
        if code in DENIED and self.aws.tenant is not None and key.startswith(f"tenant={self.aws.tenant}/"):
            listed = self._s3.list_objects_v2(Bucket=self.bucket(layer), Prefix=key, MaxKeys=1)
            return key not in {each["Key"] for each in listed.get("Contents", ())}
        return code in {"NoSuchKey", "404"}

    def stored(self, layer: Layer, prefix: str) -> Iterator[Stored]:
        """Yield what lies below a prefix, in order of keys: for sweeping, never for reading data."""
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket(layer), Prefix=prefix)
        for page in pages:
            for entry in page.get("Contents", ()):
                yield Stored(entry["Key"], entry["Size"], entry["LastModified"])

    def delete(self, layer: Layer, key: str) -> None:
        """Delete an object; versioning keeps it until its lifecycle ends."""
        self._s3.delete_object(Bucket=self.bucket(layer), Key=key)

    def erase(self, layer: Layer, key: str) -> None:
        """Delete an object together with its version, so that no lifecycle keeps it; one that is not there is no error."""
        from botocore.exceptions import ClientError

        of = {"Bucket": self.bucket(layer), "Key": key}
        try:
            version = self._s3.head_object(**of).get("VersionId")
        except ClientError as error:
            if self._absent(error, layer, key):
                return
            raise
        self._s3.delete_object(**of, **({"VersionId": version} if version else {}))

    def manifest(self, layer: Layer, key: str) -> Manifest | None:
        """Return the manifest under a key, or None when there is none."""
        body = self.get(layer, key)
        return None if body is None else Manifest.model_validate_json(body)

    def dataset(self, layer: Layer, keys: Sequence[str], schema: pa.Schema) -> pads.Dataset:
        """Return a lazy dataset over parts; columns that an old part lacks read as null."""
        import pyarrow.dataset as pads

        paths = [f"{self.bucket(layer)}/{key}" for key in keys]
        return pads.dataset(paths, schema=schema, filesystem=self.aws.arrow_filesystem(), format="parquet")
