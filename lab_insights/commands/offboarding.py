"""Offboarding a tenant: suspended, exported, then deleted from every place. It may be cut off anywhere; the same words take it up.

Three JSON objects lie under `offboarded/tenant=<id>/` in the raw bucket, and outlive the tenant: `export.json`, the list of what was exported, and
`certificate.json`, how much was deleted where; until then `progress.json`. None holds a value of a row. What a place holds is noted before anything of it is
deleted, so that a certificate is right after a cut, too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lab_insights.commands.provisioners import Counts, Provisioner
from lab_insights.errors import LabInsightsError, LandingMismatch
from lab_insights.lake.commit import Lake
from lab_insights.lake.layout import LAYERS
from lab_insights.lake.tables import manifests
from lab_insights.names import TenantId
from lab_insights.tenants.registry import Registry

KEPT = "the audit chain, the list of the export and this certificate; point-in-time backups end by themselves"


@dataclass(frozen=True)
class Offboarding:
    """One tenant's offboarding, from the last of `places` to the first. `tell` is given a sentence for each step that was done."""

    lake: Lake
    registry: Registry
    places: Sequence[Provisioner]
    tenant: TenantId
    directory: Path
    tell: Callable[[str], None]

    def run(self) -> dict[str, Any]:
        """Do what is not done yet and return the certificate; raise before anything is deleted when the export is not whole."""
        noted: dict[str, Any] = self._noted()
        if "exported" in noted:
            self.tell(f"export: done before ({_counted(noted['exported'])})")
        else:
            self._suspend()
            noted |= {"exported": self._export(), "deleted": {}}
            self._note("progress.json", noted)
            self.tell(f"export: {_counted(noted['exported'])}")
        for place in reversed(self.places):
            self._removed(place, noted)
        self.registry.remove(self.tenant)
        self.tell("registry: forgotten")
        certificate = {"tenant": self.tenant, "completed_at": datetime.now(UTC).isoformat(), **noted, "kept": KEPT}
        self._note("certificate.json", certificate)
        self.lake.storage.delete("raw", self._key("progress.json"))
        return certificate

    def _removed(self, place: Provisioner, noted: dict[str, Any]) -> None:
        """Note what lies in a place, remove it, and look that nothing is left; what was noted before a cut counts."""
        before: Counts = noted["deleted"].get(place.name, {})
        there = place.found(self.tenant)
        noted["deleted"][place.name] = _most(before, there)
        self._note("progress.json", noted)
        noted["deleted"][place.name] = _most(noted["deleted"][place.name], place.remove(self.tenant))
        if any(left := place.found(self.tenant).values()):
            raise LabInsightsError(
                f"{sum(left)} things of the tenant are in {place.name} again.",
                remedy="end its runs, and offboard it again: what was done stays done.",
                tenant=self.tenant,
            )
        self.tell(f"{place.name}: {_counted(noted['deleted'][place.name])} deleted")

    def _suspend(self) -> None:
        """Keep schedules from asking for what is about to go; the one that was suspended before a cut may be gone from the registry."""
        known = self.registry.get(self.tenant)
        self.registry.put(known.model_copy(update={"suspended": True}))
        self.tell("registry: suspended, the schedules leave it out")

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


def certified(lake: Lake, tenant: TenantId) -> bool:
    """Return whether a tenant of this id was offboarded."""
    return lake.storage.get("raw", f"offboarded/tenant={tenant}/certificate.json") is not None


def _most(one: Counts, other: Counts) -> Counts:
    return {name: max(one.get(name, 0), other.get(name, 0)) for name in (*one, *(name for name in other if name not in one))}


def _counted(counts: Counts) -> str:
    return ", ".join(f"{count:,} {what}" for what, count in counts.items())
