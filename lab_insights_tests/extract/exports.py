"""The service's exports, in the documented form: files and manifests in the bucket. Only the two calls that make and describe an export are stood in for."""

from __future__ import annotations

import base64
import copy
import gzip
import hashlib
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from botocore.validate import ParamValidator

from lab_insights.aws import Aws

Item = dict[str, Any]


def _honest(bodies: list[bytes]) -> list[bytes]:
    return bodies


@dataclass
class Exporting:
    """Answers a client's calls for exports; `at` gives the items of the table as of an instant, by key, whose attributes are `key`."""

    aws: Aws
    bucket: str
    at: Callable[[datetime], dict[str, Item]]
    key: tuple[str, ...] = ("tenant_id", "id")
    asked: list[dict[str, Any]] = field(default_factory=list)
    looks: int = 0
    fails: bool = False
    spoil: Callable[[list[bytes]], list[bytes]] = _honest
    _made: dict[str, dict[str, Any]] = field(default_factory=dict)

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        client = self.aws.client("dynamodb")
        monkeypatch.setattr(client, "export_table_to_point_in_time", self.export, raising=False)
        monkeypatch.setattr(client, "describe_export", self.describe, raising=False)

    def export(self, **request: Any) -> dict[str, Any]:
        shape = self.aws.client("dynamodb").meta.service_model.operation_model("ExportTableToPointInTime").input_shape
        assert not ParamValidator().validate(request, shape).has_errors(), "the service's own model takes the request"
        self.asked.append(request)
        token = request["ClientToken"]
        if token not in self._made:
            self._made[token] = self._written(request)
        return {"ExportDescription": {"ExportArn": token, "ExportStatus": "IN_PROGRESS"}}

    def describe(self, ExportArn: str) -> dict[str, Any]:  # noqa: N803 (the service's name)
        self.looks += 1
        if self.fails:
            return {
                "ExportDescription": {
                    "ExportArn": ExportArn,
                    "ExportStatus": "FAILED",
                    "FailureCode": "S3NoSuchBucket",
                    "FailureMessage": "secret",
                }
            }
        return {"ExportDescription": {"ExportArn": ExportArn, "ExportStatus": "COMPLETED", **self._made[ExportArn]}}

    def _written(self, request: dict[str, Any]) -> dict[str, Any]:
        export, prefix = uuid.uuid4().hex, f"{request['S3Prefix']}/AWSDynamoDB"
        if request["ExportType"] == "FULL_EXPORT":
            records = [{"Item": item} for item in self.at(request["ExportTime"]).values()]
            data = f"{prefix}/{export}/data"
        else:
            records, data = self._changes(**request["IncrementalExportSpecification"]), f"{prefix}/data"
        halves = [records[0::2], records[1::2]]
        bodies = [gzip.compress("".join(json.dumps(_written(each)) + "\n" for each in half).encode()) for half in halves]
        files = []
        for half, honest, body in zip(halves, bodies, self.spoil(bodies), strict=True):
            key, digest = f"{data}/{uuid.uuid4().hex}.json.gz", hashlib.md5(honest).digest()
            self._put(key, body)
            files.append({"itemCount": len(half), "md5Checksum": base64.b64encode(digest).decode(), "etag": "e", "dataFileS3Key": key})
        listed, summary = f"{prefix}/{export}/manifest-files.json", f"{prefix}/{export}/manifest-summary.json"
        self._put(listed, "".join(json.dumps(each) + "\n" for each in files).encode())
        told = {"version": "2023-08-01", "manifestFilesS3Key": listed, "itemCount": len(records), "outputFormat": "DYNAMODB_JSON"}
        self._put(summary, json.dumps(told).encode())
        return {"ExportManifest": summary, "ItemCount": len(records)}

    def _changes(self, ExportFromTime: datetime, ExportToTime: datetime, ExportViewType: str) -> list[Item]:  # noqa: N803
        """Each item once, as it was at both ends of `[from, to)`."""
        assert timedelta(minutes=15) <= ExportToTime - ExportFromTime <= timedelta(hours=24)
        assert ExportViewType == "NEW_AND_OLD_IMAGES"
        tick = timedelta(microseconds=1)
        before, after = self.at(ExportFromTime - tick), self.at(ExportToTime - tick)
        found = []
        for key in before.keys() | after.keys():
            if before.get(key) != after.get(key):
                some = after.get(key) or before[key]
                images = {"OldImage": before.get(key), "NewImage": after.get(key)}
                found.append(
                    {
                        "Metadata": {"WriteTimestampMicros": {"N": "1"}},
                        "Keys": {name: some[name] for name in self.key},
                        **{name: image for name, image in images.items() if image is not None},
                    }
                )
        return found

    def _put(self, key: str, body: bytes) -> None:
        self.aws.client("s3").put_object(Bucket=self.bucket, Key=key, Body=body)


def _written(value: Any) -> Any:
    """Bytes as an export writes them."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {name: _written(each) for name, each in value.items()}
    return [_written(each) for each in value] if isinstance(value, list) else copy.copy(value)
