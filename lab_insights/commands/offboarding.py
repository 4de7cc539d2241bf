"""Offboarding a tenant, step by step: export, then delete everywhere. What is done is noted in the lake, so that a run that was cut off is taken up.

Two JSON objects outlive the tenant, under `offboarded/tenant=<id>/` in the raw bucket: `export.json`, the list of what was exported, and
`certificate.json`, how much was deleted where. Neither holds a value of a row.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lab_insights.errors import LandingMismatch
from lab_insights.governance import glue, lake_formation, people
from lab_insights.lake.commit import Lake
from lab_insights.lake.erase import erase_items, erase_objects
from lab_insights.lake.layout import LAYERS
from lab_insights.lake.tables import manifests
from lab_insights.names import TenantId
from lab_insights.tenants.registry import Registry
from lab_insights.warehouse import roles, sharing
from lab_insights.warehouse.names import database
from lab_insights.warehouse.session import Session

Counts = dict[str, int]


@dataclass(frozen=True)
class Offboarding:
    """One tenant's offboarding. `forget` takes the tenant's partitions from Dagster; `tell` is given a sentence for each step that was done."""

    lake: Lake
    registry: Registry
    session: Session
    tenant: TenantId
    directory: Path
    forget: Callable[[TenantId], int]
    tell: Callable[[str], None]

    def run(self) -> dict[str, Any]:
        """Do what is not done yet and return the certificate; raise before anything is deleted when the export is not whole."""
        steps: list[tuple[str, Callable[[], Counts]]] = [
            ("suspend", self._suspend),
            ("export", self._export),
            ("database", self._database),
            ("lake", self._lake),
            ("catalog", self._catalog),
            ("state", lambda: {"items": erase_items(self.lake, self.tenant)}),
            ("partitions", lambda: {"partitions": self.forget(self.tenant)}),
            ("registry", self._registry),
        ]
        done: dict[str, Any] = self._noted()
        for name, step in steps:
            if name in done:
                self.tell(f"{name}: done before ({_counted(done[name])})")
                continue
            done[name] = step()
            self._note("progress.json", done)
            self.tell(f"{name}: {_counted(done[name])}")
        certificate = {
            "tenant": self.tenant,
            "completed_at": datetime.now(UTC).isoformat(),
            "deleted": {name: counts for name, counts in done.items() if name not in {"suspend", "export"}},
            "exported": done["export"],
            "kept": "the audit chain, the list of the export and this certificate; point-in-time backups end by themselves",
        }
        self._note("certificate.json", certificate)
        self.lake.storage.delete("raw", self._key("progress.json"))
        return certificate

    def _suspend(self) -> Counts:
        self.registry.put(self.registry.get(self.tenant).model_copy(update={"suspended": True}))
        return {"tenants": 1}

    def _export(self) -> Counts:
        """Copy every live manifest and part to the directory; what is there already, byte for byte, is not copied again."""
        listed: list[dict[str, Any]] = []
        size = 0
        for layer in LAYERS:
            for table in self.lake.state.tables(layer, self.tenant):
                for manifest in manifests(self.lake, layer, self.tenant, table):
                    for key in (manifest.object_key, *(part.key for part in manifest.parts)):
                        bytes_, digest = self._copied(layer, key)
                        size += bytes_
                        listed.append({"layer": layer, "key": key, "bytes": bytes_, "sha256": digest})
                    wrong = {part.key: part.sha256 for part in manifest.parts} != {
                        each["key"]: each["sha256"] for each in listed[len(listed) - len(manifest.parts) :]
                    }
                    if manifest.parts and wrong:
                        raise LandingMismatch(
                            "A part was exported that is not what its manifest says; nothing was deleted.",
                            remedy="run `lab-insights verify`, restore the part, and offboard again.",
                            **manifest.partition.where,
                        )
        self._note("export.json", listed)
        return {"objects": len(listed), "bytes": size}

    def _copied(self, layer: Any, key: str) -> tuple[int, str]:
        target = self.directory / layer / key
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            passing = target.with_name(f".{target.name}.partial")
            with passing.open("wb") as file:
                self.lake.storage.download(layer, key, file)
            passing.replace(target)
        with target.open("rb") as file:
            return target.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()

    def _database(self) -> Counts:
        name = database(self.tenant)
        there = self.session.execute(f"SHOW DATABASES LIKE '{name}'")
        counts = {"databases": 0, "tables": 0, "rows": 0}
        if any(name in map(str, row) for row in there):
            its = f"SELECT COUNT(*), SUM(ROW_COUNT) FROM \"{name}\".INFORMATION_SCHEMA.TABLES WHERE TABLE_TYPE = 'BASE TABLE'"
            tables, rows = self.session.execute(its)[0]
            counts = {"databases": 1, "tables": int(tables), "rows": int(rows or 0)}
        for statement in [*sharing.removal(self.tenant), *roles.removal(self.tenant)]:
            self.session.execute(statement)
        return counts | {"roles": len(roles.ROLES)}

    def _lake(self) -> Counts:
        erased = [erase_objects(self.lake, layer, self.tenant) for layer in LAYERS]
        return {"objects": sum(each.objects for each in erased), "bytes": sum(each.bytes for each in erased)}

    def _catalog(self) -> Counts:
        aws, prefix = self.lake.storage.aws, self.lake.storage.prefix
        grants = lake_formation.forget(aws, prefix, self.tenant)
        partitions = glue.forget(aws, prefix, self.tenant)
        return {"partitions": partitions, "grants": grants, "roles": people.remove(aws, prefix, self.tenant)}

    def _registry(self) -> Counts:
        self.registry.remove(self.tenant)
        return {"tenants": 1}

    def _key(self, name: str) -> str:
        return f"offboarded/tenant={self.tenant}/{name}"

    def _note(self, name: str, content: Any) -> None:
        self.lake.storage.put("raw", self._key(name), json.dumps(content, indent=2).encode(), "application/json")

    def _noted(self) -> dict[str, Any]:
        body = self.lake.storage.get("raw", self._key("progress.json"))
        return json.loads(body) if body else {}


def unfinished(lake: Lake, tenant: TenantId) -> bool:
    """Return whether an offboarding of this tenant was cut off."""
    return lake.storage.get("raw", f"offboarded/tenant={tenant}/progress.json") is not None


def forget_partitions(tenant: TenantId) -> int:
    """Take a tenant from the partitions of the Dagster instance at `$DAGSTER_HOME`; return how many went, none without an instance."""
    import dagster as dg

    from lab_insights.partitions import TENANTS

    if not os.environ.get("DAGSTER_HOME"):
        return 0
    with dg.DagsterInstance.get() as instance:
        if tenant not in instance.get_dynamic_partitions(str(TENANTS.name)):
            return 0
        instance.delete_dynamic_partition(str(TENANTS.name), tenant)
        return 1


def _counted(counts: Counts) -> str:
    return ", ".join(f"{count:,} {what}" for what, count in counts.items())
