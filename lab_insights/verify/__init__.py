"""`verify`: is a tenant's day complete, and can it be proven? Three links, from the source to Snowflake. No Dagster here.

1. Source → raw: what the source counted when it was read lies in the lake, byte by byte, and no window was skipped (`raw`, `windows`).
2. Raw → curated → transformed: every row is accounted for, and computing a day again gives what lies there (`derived`, `recompute`).
3. Lake → Snowflake: the tenant's tables equal the lake's state (`warehouse`).

It reads and never writes. What is not guaranteed: a row that the source changed or lost after it was read is looked for by `Live` alone, which reads the
source again.
"""

from lab_insights.findings import Finding
from lab_insights.verify.live import Live
from lab_insights.verify.report import Report, Row
from lab_insights.verify.run import verify

__all__ = ["Finding", "Live", "Report", "Row", "verify"]
