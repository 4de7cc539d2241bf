"""A patient with unmistakable values goes through every layer, failing loads included, and is found nowhere but in the tenant's own data.

`patient` says what is planted, `scene` what it goes through, `haystack` where is looked. That the search can fail is shown by `leaks`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from lab_insights.governance.deidentify import pseudonym, tenant_key
from lab_insights.lake.layout import Partition
from lab_insights.lake.tables import partition_manifests, relation
from lab_insights_tests.assets.apart import stand_ins
from lab_insights_tests.assets.world import AURORA, FIRST, Servers, World, told
from lab_insights_tests.governance import haystack
from lab_insights_tests.governance.leaks import PLANTED
from lab_insights_tests.governance.patient import ADDRESS, EMAIL, EVERYTHING, FAMILY, GIVEN, MRN, NOTE, PHONE, found_in
from lab_insights_tests.governance.scene import Scene, lived


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory, mysql_url: str, postgres_url: str) -> Iterator[Servers]:
    """Stand-ins of these tests' own: what other tests have left there is not searched."""
    with stand_ins(tmp_path_factory.mktemp("servers"), mysql_url, postgres_url) as own:
        yield own


@pytest.fixture(scope="module")
def scene(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with lived(servers, tmp_path_factory.mktemp("patient")) as found:
        yield found


@pytest.mark.slow
def test_the_patient_is_in_the_data(scene: Scene) -> None:
    """Else nothing would be shown by finding it nowhere."""
    world = scene.world
    assert scene.results[0].success, told(scene.results[0])

    def rows(layer: Any, table: str) -> str:
        found = partition_manifests(world.lake, Partition(layer, AURORA, table, FIRST))
        return str([_rows(world, each) for each in found])

    for layer, table, needles in (
        ("raw", "lis.patient", (FAMILY, GIVEN, MRN, PHONE)),
        ("raw", "lis.result", (NOTE,)),
        ("raw", "crm.crm_case", (EVERYTHING,)),
        ("raw", "crm.udt_patient_note", (EMAIL, ADDRESS)),
        ("raw", "crm.udt_by_mrn", (MRN,)),
        ("raw", "messages.message", (FAMILY, NOTE)),
        ("raw", "messages.udt_note", (FAMILY, NOTE)),
        ("raw", "audit.audit_event", (MRN, NOTE)),
        ("raw", "notifications.critical_notification", (MRN, NOTE)),
        ("curated", "patient", (FAMILY, MRN)),
        ("curated", "message_patient", (FAMILY, MRN)),
        ("curated", "critical_notification", (MRN,)),
    ):
        text = rows(layer, table)
        assert all(needle in text for needle in needles), (layer, table)
    rejects = rows("curated", "message_reject")
    assert rejects.count("'reason'") >= 8
    assert found_in(rejects) == [], "a reason, type or release names what the message says"
    assert any(FAMILY.casefold() in text.casefold() for _, text in haystack.database(world, AURORA, ("CURATED",)))


@pytest.mark.slow
def test_the_patient_is_in_the_de_identified_schema_under_another_name(scene: Scene) -> None:
    world = scene.world
    key = tenant_key(world.resource.config().phi, world.resource.aws(), AURORA)
    assert key
    for table, column in (
        ("PATIENT", "MRN"),
        ("MESSAGE_PATIENT", "MRN"),
        ("CRM_CASE", "PATIENT_MRN"),
        ("CRITICAL_NOTIFICATION", "PATIENT_MRN"),
    ):
        place = f'"LAB_INSIGHTS_{AURORA.upper()}"."DEIDENTIFIED"."{table}" WHERE "{column}" = \'{pseudonym(key, MRN)}\''
        assert world.count(AURORA, place) > 0, table
    [(scanned, output)] = [each for each in scene.said if each[0].endswith("--json") and "scan" in each[0]]
    found = {(each["table"], each["column"]): each for each in json.loads(output)}
    assert found["crm.udt_patient_note", "email"]["proposed"] == "direct", scanned
    assert found["crm.udt_by_mrn", "mrn"]["proposed"] == "direct"


def _rows(world: World, manifest: Any) -> Any:
    found = relation(world.lake.storage, [manifest], manifest.schema_())
    return (found if hasattr(found, "to_pylist") else found.to_table()).to_pylist()


@pytest.mark.slow
def test_a_planted_patient_is_found_nowhere_but_in_the_data(scene: Scene) -> None:
    leaks = scene.leaks()
    assert leaks == [], "\n".join(sorted({f"{where}: {needle}" for where, needle in leaks})[:60])


@pytest.mark.slow
def test_a_leak_in_any_place_is_found(scene: Scene) -> None:
    """This comes last: what it plants stays."""
    for leak in dict.fromkeys(leak for leak, _, _ in PLANTED):
        leak(scene)
    found = scene.leaks()
    missed = [
        (where, needle)
        for _, where, needle in PLANTED
        if not any(place.startswith(where) and needle.casefold() == of for place, of in found)
    ]
    assert missed == []
