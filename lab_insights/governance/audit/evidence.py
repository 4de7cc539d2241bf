"""Evidence: each control of the HIPAA Security Rule that the product serves, with its records of a period and the tests that show it."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict

from lab_insights.governance.audit.log import Log
from lab_insights.governance.audit.reads import Read, Store, listed
from lab_insights.governance.audit.verify import Verified, verify

# What somebody read is known to others; where they were not asked it is told as missing, so that nobody takes silence for evidence.
_UNASKED = {
    "lake": "Reads of objects: CloudTrail data events of the lake's buckets (`--trail`); none of the stand-in.",
    "snowflake": "Reads of tables: SNOWFLAKE.ACCOUNT_USAGE.ACCESS_HISTORY (`--snowflake`, Enterprise Edition); not available locally.",
}
_STORES = {"lake": "lake", "snowflake": "client databases"}
_UNKNOWN = "Looking at the Dagster UI: the log of the proxy in front of it; the UI has no login of its own."


class Control(BaseModel):
    """One control: how it is served, by which command or file it is seen, the actions that are its records, and the tests; `*` means all actions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    control: str
    title: str
    served: str
    how: str
    actions: tuple[str, ...]
    tests: tuple[str, ...]
    hitrust: str = ""
    limits: str = ""


@dataclass(frozen=True)
class Evidence:
    """The evidence of a period: chains as they verify now, how many records of each action and outcome the period has, and reads of the stores asked."""

    first: date
    last: date
    chains: tuple[Verified, ...]
    records: dict[str, dict[str, int]]
    reads: Mapping[Store, Counter[Read]] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether no chain has a finding."""
        return not any(chain.findings for chain in self.chains)

    def of(self, control: Control) -> dict[str, dict[str, int]]:
        """Return the records of a control."""
        return {action: count for action, count in self.records.items() if action in control.actions or "*" in control.actions}

    @property
    def not_recorded(self) -> list[str]:
        """What nobody was asked for, or nobody knows."""
        return [*(said for store, said in _UNASKED.items() if store not in self.reads), _UNKNOWN]

    def to_dict(self) -> dict[str, Any]:
        """Return the evidence as plain values."""
        return {
            "from": str(self.first),
            "to": str(self.last),
            "chains": [chain.to_dict() for chain in self.chains],
            "controls": [control.model_dump() | {"records": self.of(control)} for control in controls()],
            "reads": {store: listed(found) for store, found in self.reads.items()},
            "not_recorded": self.not_recorded,
        }

    def markdown(self) -> str:
        """Return the evidence as a page."""
        broken = [str(finding) for chain in self.chains for finding in chain.findings]
        records = sum(chain.records for chain in self.chains)
        state = f"{len(self.chains)} chains with {records} records: {'**broken**' if broken else 'all hold'}."
        sections = (_section(control, self.of(control)) for control in controls())
        reads = "".join(f"## Reads of the {_STORES[store]}\n{_bullets(_by_identity(found))}\n" for store, found in self.reads.items())
        missing = "".join(f"- {line}\n" for line in self.not_recorded)
        head = f"# Evidence, {self.first} to {self.last}\n\nAudit log now: {state}\n{_bullets(broken)}\n"
        return f"{head}{''.join(sections)}{reads}## What this log does not record\n\n{missing}"


@functools.cache
def controls() -> tuple[Control, ...]:
    """Return the controls, in the order of the rule."""
    listed = yaml.safe_load(Path(__file__).with_name("controls.yaml").read_text(encoding="utf-8"))
    return tuple(Control.model_validate(each) for each in listed)


def evidence(log: Log, first: date, last: date, reads: Mapping[Store, Counter[Read]] | None = None) -> Evidence:
    """Verify every chain and count the records of days `first` to `last`; `reads` are those of the stores that were asked."""
    chains = verify(log)
    counts: Counter[tuple[str, str]] = Counter()
    for chain in chains:
        counts.update((record.action, record.outcome) for record in log.records(chain.chain, first, last))
    records: dict[str, dict[str, int]] = {}
    for (action, outcome), count in sorted(counts.items()):
        records.setdefault(action, {})[outcome] = count
    return Evidence(first, last, tuple(chains), records, reads or {})


def _section(control: Control, records: dict[str, dict[str, int]]) -> str:
    counted = "; ".join(
        f"{action}: {', '.join(f'{count} {outcome}' for outcome, count in outcomes.items())}" for action, outcomes in records.items()
    )
    lines = [
        f"- HITRUST CSF: {control.hitrust}" if control.hitrust else "",
        f"- Seen by: `{control.how}`",
        f"- Records: {counted or 'none in this period'}" if control.actions else "",
        f"- Limits: {control.limits}" if control.limits else "",
        "- Shown by:",
        *(f"    - `{test}`" for test in control.tests),
    ]
    body = "\n".join(line for line in lines if line)
    return f"## {control.control} {control.title}\n\n{control.served}\n\n{body}\n\n"


def _by_identity(found: Counter[Read]) -> list[str]:
    """Return a line for each tenant and identity; which tables and days is for `audit reads`."""
    counts: dict[tuple[str, str], list[tuple[Read, int]]] = {}
    for read, count in sorted(found.items()):
        counts.setdefault((read.tenant, read.identity), []).append((read, count))
    return [
        f"{tenant}: {identity}, {sum(count for _, count in its)} reads of {len({(read.layer, read.table) for read, _ in its})} tables"
        for (tenant, identity), its in counts.items()
    ] or ["none in this period"]


def _bullets(lines: list[str]) -> str:
    return "".join(f"\n- {line}" for line in lines) + ("\n" if lines else "")
