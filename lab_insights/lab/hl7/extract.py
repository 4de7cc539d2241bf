"""The records of an HL7 v2 message: its segments in order, gathered into groups of an order, its results and its specimens.

Segments that say nothing to the laboratory, and Z segments, are left to the raw layer. Results are taken from ORU and OUL only: in the other types OBX
is an answer that came with the order, or another department's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from lab_insights.lab import genomic, message_keys
from lab_insights.lab.hl7 import medications, people, results, specimens
from lab_insights.lab.hl7.message import Message
from lab_insights.lab.records import Header, Kind, Row

RESULTS = frozenset({"ORU", "OUL"})
ORDERS = frozenset({"ORM", "OML", "OMG", *RESULTS})
PRESCRIPTIONS = frozenset({"RDE", "RDS", "OMP"})
# In these the specimen comes first, and the orders on it follow; in all others it follows its order.
SPECIMEN_FIRST = frozenset({("OUL", "R22"), ("OUL", "R23"), ("OML", "O33"), ("OML", "O35")})
# Order controls that end an order (table 0119): what ORC-5 does not say they say.
ENDING = frozenset({"CA", "OC", "CR", "DC", "OD"})
Segment = list[str]
Add = Callable[[Kind, Row], None]
_ABSENT: Segment = [""] * 52


@dataclass
class _Group:
    """One order: what its segments are. `results` are OBX segments, each with the NTE segments that follow it."""

    orc: Segment | None = None
    obr: Segment | None = None
    specimens: list[Segment] = field(default_factory=list)
    results: list[tuple[Segment, list[str]]] = field(default_factory=list)
    timing: Segment | None = None
    rxo: Segment | None = None
    rxe: Segment | None = None
    rxd: list[Segment] = field(default_factory=list)
    route: Segment | None = None
    ordered_by: str = ""


def header(message: Message) -> Header:
    """Return the header of a message: its sender is application and facility (MSH-3, MSH-4)."""
    msh = message.header
    sender = "^".join(str(part) for part in (message.part(msh[3], 1), message.part(msh[4], 1)) if type(part) is str)
    control = message.text(msh[10])
    return "hl7v2", sender or None, control if type(control) is str else None, message.instant(msh[7])


def extract(message: Message, add: Add) -> None:
    """Give `add` every record of a message, its values in the order of `records.FIELDS`."""
    _Walk(message, add).run()


class _Walk:
    """A walk through the segments of one message."""

    def __init__(self, message: Message, add: Add) -> None:
        self._message, self._add = message, add
        self._patient: tuple[Any, ...] = people.NOBODY
        self._person: Row | None = None
        self._visit: Any = None
        self._group: _Group | None = None
        self._specimen: Segment | None = None
        self._told_specimen = True
        self._genomic: list[Row] = []
        self._keys = message_keys.ResultKeys()
        self._seen: set[tuple[str, ...]] = set()

    def run(self) -> None:
        steps, fields = self.STEPS, self._message.fields
        for line in self._message.lines:
            # Only segments that say something here are split.
            if step := steps.get(line[:3]):
                step(self, fields(line))
        self._finish_specimen()
        for row in genomic.variants(self._genomic):
            self._add("genomic", row)

    def _pid(self, segment: Segment) -> None:
        self._finish_specimen()
        self._visit = None
        row, self._patient, identifiers = people.patient(self._message, segment)
        self._person = row
        self._add("patient", row)
        for its in identifiers:
            self._add("identifier", its)

    def _mrg(self, segment: Segment) -> None:
        if self._person and self._message.event in people.MERGES:
            for row in people.merged(self._message, segment, self._person):
                self._add("patient", row)

    def _pv1(self, segment: Segment) -> None:
        part, instant = self._message.part, self._message.instant
        self._visit = part(segment[19], 1)
        if self._visit:
            stamps = instant(segment[44]), instant(segment[45])
            self._add("encounter", (None, self._visit, *self._patient, part(segment[2], 1), part(segment[3], 1), *stamps))
        self._provider(segment[7], "attending")

    def _orc(self, segment: Segment) -> None:
        # In OUL the common order follows its OBR; everywhere else it begins the order.
        group = self._group
        if self._message.type == "OUL" and group and group.obr and group.orc is None:
            group.orc = segment
            return
        self._begin(_Group(orc=segment))

    def _obr(self, segment: Segment) -> None:
        if self._group and self._group.obr is None and self._group.orc:
            self._group.obr = segment
        else:
            self._begin(_Group(obr=segment))

    def _obx(self, segment: Segment) -> None:
        self._current().results.append((segment, []))

    def _nte(self, segment: Segment) -> None:
        if self._group and self._group.results:
            self._group.results[-1][1].append(segment[3])

    def _spm(self, segment: Segment) -> None:
        if (self._message.type, self._message.event) in SPECIMEN_FIRST:
            self._finish_specimen()
            self._specimen, self._told_specimen = segment, False
        else:
            self._current().specimens.append(segment)

    def _tq1(self, segment: Segment) -> None:
        self._current().timing = segment

    def _prt(self, segment: Segment) -> None:
        # From 2.7 on a participation takes the place of the provider fields.
        if self._group and self._message.part(segment[4], 1) == "OP":
            self._group.ordered_by = segment[5]

    def _rx(self, segment: Segment) -> None:
        group = self._current()
        match segment[0]:
            case "RXO":
                group.rxo = segment
            case "RXE":
                group.rxe = segment
            case "RXR":
                group.route = segment
            case _:
                group.rxd.append(segment)

    def _current(self) -> _Group:
        if self._group is None:
            self._group = _Group()
        return self._group

    def _begin(self, group: _Group) -> None:
        self._finish()
        self._group = group

    def _finish(self) -> None:
        """Add the records of the order that ends here."""
        group, self._group = self._group, None
        if group is None:
            return
        # Before 2.4 a prescription may be an ORM whose order detail is RXO.
        if self._message.type in PRESCRIPTIONS or (group.rxo and not group.obr and self._message.type in ORDERS):
            self._medications(group)
        elif self._message.type in ORDERS:
            self._order(group)

    def _finish_specimen(self) -> None:
        """End the orders on the specimen that came before them, and tell of it where there were none."""
        self._finish()
        if self._specimen and not self._told_specimen:
            self._sample(self._specimen, _Group())
        self._specimen, self._told_specimen = None, True

    def _numbers(self, group: _Group) -> Row:
        orc, obr = group.orc or _ABSENT, group.obr or _ABSENT
        part, placer, filler = self._message.part, orc[2] or obr[2], orc[3] or obr[3]
        # Of an EI the namespace, else the universal id, says whose number it is.
        owner, maker = part(placer, 2) or part(placer, 3), part(filler, 2) or part(filler, 3)
        return message_keys.order_numbers(part(placer, 1), owner, part(filler, 1), maker, self._patient[0])

    def _order(self, group: _Group) -> None:
        message, part, instant = self._message, self._message.part, self._message.instant
        orc, obr, numbers = group.orc or _ABSENT, group.obr or _ABSENT, self._numbers(group)
        ordered_by = orc[12] or obr[16] or group.ordered_by
        test = results.test(message, obr[4])
        reported, observed = instant(obr[22]), instant(obr[7])
        if self._specimen and (group.orc or group.obr):
            # Each order on it is told with it, as a specimen that follows its order is; what is observed of the specimen itself is no order.
            self._sample(self._specimen, group)
            self._told_specimen = True
        for spm in group.specimens:
            self._sample(spm, group)
        first = group.specimens[0] if group.specimens else self._specimen
        if first is None and (obr[15] or obr[7] or obr[14]):
            self._sample(None, group)
        if group.orc or group.obr:
            self._provider(ordered_by, "ordering")
            self._organization(orc[21], orc[22], "ordering")
            timing = group.timing
            priority = (part(timing[9], 1) if timing else None) or part(obr[27], 6) or part(obr[5], 1)
            parent = obr[29].rsplit(message.delimiters.component, 1)[-1]
            control = part(orc[1], 1)
            # What neither ORC-5 nor the control says an order that was given up says by the status of its results.
            status = part(orc[5], 1) or (control if control in ENDING else None) or ("X" if obr[25] == "X" else None)
            self._add(
                "order",
                (
                    None, *numbers, part(orc[4], 1), *self._patient, *test, control, status, part(obr[11], 1), priority, part(ordered_by, 1),
                    *self._ordering(orc[21]), self._visit, part(obr[24], 1), part(parent, 1), instant(orc[9] or obr[6]),
                    *specimens.stamps(message, first, obr),
                ),
            )  # fmt: skip
        if message.type not in RESULTS:
            return
        if group.obr:
            report = (None, *numbers, None, *self._patient, *test, part(obr[24], 1), part(obr[25], 1), None, observed, reported)
            self._add("report", report)
        tube = results.tube(message, first) if first else None
        linked = (*numbers, None, *self._patient)
        for obx, notes in group.results:
            comment = "\n".join(str(message.text(note) or "") for note in notes) if notes else ""
            row = results.observation(message, obx, linked, tube, test[0], reported, comment)
            self._add("result", (*row, self._keys.of(row)))
            if row[genomic.LOINC] in genomic.CODES:
                self._genomic.append(row)
            if obx[23]:
                self._organization(obx[23], obx[24], "performing")

    def _sample(self, spm: Segment | None, group: _Group) -> None:
        links = (*self._numbers(group), *self._patient)
        self._add("specimen", specimens.specimen(self._message, spm, group.obr, links))

    def _medications(self, group: _Group) -> None:
        message, numbers, orc = self._message, self._numbers(group), group.orc or _ABSENT
        if rx := group.rxe or group.rxo:
            self._provider(orc[12] or rx[13 if rx[0] == "RXE" else 14], "ordering")
            row = medications.prescribed(message, (*numbers, *self._patient), orc, rx, group.route, group.timing)
            self._add("medication_order", row)
        for rxd in group.rxd:
            self._add("medication_dispense", medications.dispensed(message, (*numbers, None, *self._patient), orc, rxd))

    def _ordering(self, raw: str) -> tuple[Any, Any]:
        """Return the code of the organisation of an XON field, and whose code it is: its authority's, else the sending facility's."""
        row = people.organization(self._message, raw, "", "ordering") if raw else None
        return (row[1], row[2]) if row and row[1] else (None, None)

    def _provider(self, raw: str, role: str) -> None:
        if raw and (raw, role) not in self._seen:
            self._seen.add((raw, role))
            for row in people.providers(self._message, raw, role):
                self._add("provider", row)

    def _organization(self, raw: str, address: str, role: str) -> None:
        if raw and (raw, address, role) not in self._seen:
            self._seen.add((raw, address, role))
            if row := people.organization(self._message, raw, address, role):
                self._add("organization", row)

    STEPS: ClassVar[dict[str, Callable[[_Walk, Segment], None]]] = {
        "PID": _pid,
        "MRG": _mrg,
        "PV1": _pv1,
        "ORC": _orc,
        "OBR": _obr,
        "OBX": _obx,
        "NTE": _nte,
        "SPM": _spm,
        "TQ1": _tq1,
        "PRT": _prt,
        **dict.fromkeys(("RXO", "RXE", "RXR", "RXD"), _rx),
    }
