"""HL7 v2 messages of a patient, and the results that they tell."""

from __future__ import annotations

from typing import Any

from lab_insights_tests.lab.reading import rows

PID = "PID|1|ext|77^^^OTHER^PI~12345^^^HOSP&1.2&ISO^MR||Doe&van^Jane^Q||19800506|F|||1 Main^^Town^ST^12345||555-0100"


def message(kind: str, *segments: str, version: str = "2.5.1", at: str = "20260301101500+0200") -> str:
    return "\r".join([f"MSH|^~\\&|APP|LAB|||{at}||{kind}|c1|P|{version}", *segments]) + "\r"


def results(*obx: str, kind: str = "ORU^R01", obr: str = "OBR|1|P1|F1|BMP^Panel^L", **header: str) -> list[dict[str, Any]]:
    return rows(message(kind, PID, obr, *obx, **header), "result")
