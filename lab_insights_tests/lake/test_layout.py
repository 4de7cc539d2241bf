"""Names of objects: sortable, tenant first, and read back only when they are ours."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lab_insights.errors import InvalidTenant
from lab_insights.lake.layout import Partition, batch_id, manifest_key, parse_manifest_key, part_key
from lab_insights.names import TenantId
from lab_insights_tests.lake.world import day

ONE = Partition("raw", TenantId("aurora_clinic"), "lis.result", day(5))


def test_a_tenant_is_a_prefix_and_a_partition_a_directory() -> None:
    assert ONE.directory == "tenant=aurora_clinic/table=lis.result/date=2026-03-05"
    assert part_key(ONE, batch_id(3, 2), 7) == f"{ONE.directory}/00000003-002-00007.parquet"
    assert manifest_key(ONE, batch_id(3, 2)) == f"{ONE.directory}/00000003-002.manifest.json"


def test_batches_sort_as_they_were_made() -> None:
    made = [(0, 1), (0, 2), (1, 1), (9, 1), (10, 1), (10, 12), (100, 1), (99_999_999, 999)]
    names = [batch_id(*each) for each in made]
    assert names == sorted(names)


@pytest.mark.parametrize("spelling", [lambda key: key, lambda key: key.replace("=", "%3D"), lambda key: key.replace("/", "%2F")])
def test_a_manifests_key_is_read_back_however_an_event_spells_it(spelling: Callable[[str], str]) -> None:
    assert parse_manifest_key("some-prefix-raw", spelling(manifest_key(ONE, batch_id(3, 2)))) == (ONE, "00000003-002")


@pytest.mark.parametrize(
    ("bucket", "key"),
    [
        ("p-reports", manifest_key(ONE, batch_id(0, 1))),
        ("p-raw", part_key(ONE, batch_id(0, 1), 0)),
        ("p-raw", "tenant=a/table=b/c/date=2026-03-05/00000000-001.manifest.json"),
        ("p-raw", "tenant=a/table=b/date=2026-13-05/00000000-001.manifest.json"),
        ("p-raw", "x/" + manifest_key(ONE, batch_id(0, 1))),
    ],
)
def test_no_other_key_is_taken_for_a_manifest(bucket: str, key: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (a date out of range has a message of its own)
        parse_manifest_key(bucket, key)


def test_a_key_with_a_hostile_tenant_is_refused() -> None:
    with pytest.raises(InvalidTenant):
        parse_manifest_key("p-raw", "tenant=a|b/table=c/date=2026-03-05/00000000-001.manifest.json")
