"""The audit log: who ran and changed what, and when, as hash-chained records in a bucket of their own; never a value of a row.

`record` says what a record may hold, `log` appends and reads, `verify` finds what was changed, removed or inserted, `evidence` maps the controls of the
HIPAA Security Rule to records and tests, `reads` tells by CloudTrail who read objects (`warehouse.access_history`: by Snowflake who read tables).
"""

from __future__ import annotations

from lab_insights.governance.audit.log import BUCKET, DEPLOYMENT, Log
from lab_insights.governance.audit.record import Action, Event, Outcome, Record

__all__ = ["BUCKET", "DEPLOYMENT", "Action", "Event", "Log", "Outcome", "Record"]
