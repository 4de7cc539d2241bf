"""What the documentation shows that a command prints, to be compared with what it does print: line by line, whatever names, numbers and hashes are."""

from __future__ import annotations

import re
from pathlib import Path

from lab_insights.names import TenantId

DOCS = Path(__file__).resolve().parents[2] / "docs"


def shown(page: str, command: str) -> list[str]:
    """Return the shapes of the lines that a page shows below `$ lab-insights <command>`, which it shows once."""
    [block] = re.findall(rf"^\$ lab-insights {re.escape(command)}\n(.*?)^```", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)
    return shapes(block, TenantId("aurora_clinic"), "acme-lab")


def shapes(printed: str, tenant: TenantId, prefix: str) -> list[str]:
    """Return each line without what differs from one deployment, tenant and run to the next."""
    for name, told in ((tenant, "tenant"), (tenant.upper(), "TENANT"), (prefix, "prefix"), (prefix.replace("-", "_"), "prefix")):
        printed = printed.replace(name, told)
    for pattern, told in ((r"\b[0-9a-f]{8,}\b", "#"), (r"\d[\d,]*", "0"), (r"[━─]+", "─"), (r" +", " ")):
        printed = re.sub(pattern, told, printed)
    return [line.strip() for line in printed.splitlines() if line.strip()]
