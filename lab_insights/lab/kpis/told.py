"""Results with the times that no resend moves: `result` has those of the newest statement, `result_version` those of every one."""

from __future__ import annotations

from lab_insights.lab.kpis.inputs import INPUTS
from lab_insights.lab.kpis.model import Relations, known, reported

TOLD = ("result", "result_version")
"""What `results` reads."""
_TIMES = ("VERIFIED_AT", "RESULTED_AT")


def says(alias: str) -> str:
    """Return what a result or a version says, whenever that was."""
    return " || '^' || ".join(f"COALESCE({alias}.{name}, '')" for name in ("VALUE_RAW", "UNIT_RAW", "FLAG_RAW", "STATUS_NORM"))


def results(relations: Relations) -> str:
    """Return `result` with the times of the first report of what it says, and with `RELEASED_AT`: when it was first verified, whatever it said then.

    What no version tells of has its own times.
    """
    same = f"{says('V')} = {says('N')}"
    first = {f"FIRST_{name}": f"MIN(CASE WHEN {same} THEN {known(f'V.{name}')} END)" for name in _TIMES}
    first["RELEASED_AT"] = f"MIN({known('V.VERIFIED_AT')})"
    kept = ", ".join(f"R.{name.upper()}" for name in INPUTS["result"].columns if name.upper() not in _TIMES)
    times = ", ".join(f"COALESCE(F.FIRST_{name}, R.{name}) AS {name}" for name in _TIMES)
    return f"""(
    SELECT {kept}, {times}, COALESCE(F.RELEASED_AT, R.VERIFIED_AT) AS RELEASED_AT FROM {relations["result"]} AS R LEFT JOIN (
        SELECT N.RESULT_ID, {", ".join(f"{value} AS {name}" for name, value in first.items())}
        FROM {relations["result"]} AS N JOIN {relations["result_version"]} AS V ON V.RESULT_ID = N.RESULT_ID WHERE {reported("V")} GROUP BY 1
    ) AS F ON F.RESULT_ID = R.RESULT_ID)"""
