"""Specimens: what a segment of its own (SPM) says, or the order where there is none."""

from __future__ import annotations

from lab_insights.lab.hl7 import results
from lab_insights.lab.hl7.message import Message
from lab_insights.lab.records import Row, specimen_state

Segment = list[str]
_ABSENT: Segment = [""] * 52


def specimen(message: Message, spm: Segment | None, obr: Segment | None, links: Row) -> Row:
    """Return the record of a specimen; one without a segment has no number of its own. `links` are the numbers of its order and its patient."""
    collected = stamps(message, spm, obr)
    if spm is None:
        kind = message.parts((obr or _ABSENT)[15])[0].split(message.delimiters.subcomponent)
        code, name = message.text(kind[0]), message.text(kind[1]) if len(kind) > 1 else None
        return None, None, *links, code, name, None, specimen_state(False, *collected), *collected, None, None
    part = message.part
    code, name, _ = results.coded(message, spm[4])
    reason = part(spm[21], 2) or part(spm[21], 1)
    return (
        None, results.tube(message, spm), *links, code, name, part(spm[20], 1),
        specimen_state(type(reason) is str, *collected), *collected, reason, part(spm[24], 2) or part(spm[24], 1),
    )  # fmt: skip


def stamps(message: Message, spm: Segment | None, obr: Segment | None) -> tuple[object, object]:
    """Return when a specimen was collected and received, each by the specimen itself, else by its order."""
    instant, part = message.instant, message.part
    its, order = spm or _ABSENT, obr or _ABSENT
    return instant(its[17] if part(its[17], 1) else order[7]), instant(its[18] if part(its[18], 1) else order[14])
