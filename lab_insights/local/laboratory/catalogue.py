"""The test catalogue: orderables with their turnaround targets, and the analytes that each one reports.

LOINC codes and reference ranges are public knowledge of the field; some codes and UCUM units are missing on purpose.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["number", "below", "titre", "composite", "narrative"]


@dataclass(frozen=True)
class Component:
    """An analyte: `low` and `high` bound its reference range, the `critical_` bounds ask for a telephone call."""

    code: str
    name: str
    loinc: str | None = None
    unit: str | None = None
    low: float = 0
    high: float = 0
    decimals: int = 0
    critical_low: float = float("-inf")
    critical_high: float = float("inf")
    kind: Kind = "number"

    @property
    def range_raw(self) -> str | None:
        """The reference range as the LIS prints it."""
        match self.kind:
            case "number":
                return f"{self.low:.{self.decimals}f}-{self.high:.{self.decimals}f}"
            case "below":
                return f"<{self.high}"
            case "titre":
                return "<1:40"
            case _:
                return None


@dataclass(frozen=True)
class Test:
    """An orderable with its turnaround targets in minutes (None: no target) and minimum retest interval in hours."""

    code: str
    name: str
    department: str
    specimen: str
    target: int | None
    stat_target: int | None
    retest_hours: int | None
    price: str
    components: tuple[Component, ...]


CATALOGUE = (
    Test(
        "BMP", "Basic metabolic panel", "chemistry", "SER", 480, 60, 24, "14.50",
        (
            Component("NA", "Sodium", "2951-2", "mmol/L", 135, 145, 0, 120, 160),
            Component("K", "Potassium", "2823-3", "mmol/L", 3.5, 5.1, 1, 2.8, 6.2),
            Component("CL", "Chloride", "2075-0", "mmol/L", 98, 107, 0),
            Component("CO2", "Carbon dioxide", "2028-9", "mEq/L", 22, 29, 0),
            Component("BUN", "Urea nitrogen", "3094-0", "mg/dL", 7, 20, 0),
            Component("CREA", "Creatinine", "2160-0", "mg/dl", 0.6, 1.3, 2),
            Component("GLU", "Glucose", "2345-7", "mg/dL", 70, 99, 0, 45, 450),
            Component("CA", "Calcium", "17861-6", "mg/dL", 8.6, 10.3, 1, 6.5, 13.0),
        ),
    ),
    Test(
        "CBC", "Complete blood count", "hematology", "BLD", 240, 45, 12, "11.00",
        (
            Component("WBC", "Leukocytes", "6690-2", "x10E3/uL", 4.0, 11.0, 1, 1.0, 50.0),
            Component("HGB", "Hemoglobin", "718-7", "g/dL", 12.0, 16.5, 1, 6.5, 20.0),
            Component("HCT", "Hematocrit", "4544-3", "%", 36.0, 49.0, 1),
            Component("PLT", "Platelets", "777-3", "x10E3/uL", 150, 400, 0, 20, 1000),
        ),
    ),
    Test(
        "LIPID", "Lipid panel", "chemistry", "SER", 1440, None, 720, "18.00",
        (
            Component("CHOL", "Cholesterol", "2093-3", "mg/dL", 120, 200, 0),
            Component("TRIG", "Triglyceride", "2571-8", "mg/dL", 40, 150, 0),
            Component("HDL", "HDL cholesterol", "2085-9", "mg/dL", 40, 80, 0),
            Component("LDL", "LDL cholesterol", None, "mg/dL", 50, 130, 0),
        ),
    ),
    Test(
        "TSH", "Thyrotropin", "immunology", "SER", 720, None, 672, "22.75",
        (Component("TSH", "Thyrotropin", "3016-3", "uIU/mL", 0.4, 4.0, 2),),
    ),
    Test(
        "A1C", "Hemoglobin A1c", "chemistry", "BLD", 1440, None, 1440, "16.00",
        (Component("A1C", "Hemoglobin A1c", "4548-4", "%", 4.0, 5.6, 1),),
    ),
    Test(
        "TROP", "Troponin I", "chemistry", "PLAS", 120, 60, None, "31.00",
        (Component("TNI", "Troponin I", "10839-9", "ng/mL", 0.1, 0.4, 2, kind="below"),),
    ),
    Test(
        "INR", "Prothrombin time", "hematology", "PLAS", 240, 45, 12, "9.25",
        (
            Component("PT", "Prothrombin time", "5902-2", "s", 11.0, 13.5, 1),
            Component("INR", "International normalized ratio", "6301-6", None, 0.8, 1.2, 1, critical_high=5.0),
        ),
    ),
    Test(
        "ANA", "Antinuclear antibody titer", "immunology", "SER", 2880, None, 2160, "44.00",
        (Component("ANAT", "Antinuclear antibody titer", "5048-4", "titer", kind="titre"),),
    ),
    Test(
        "UA", "Urinalysis, dipstick", "urinalysis", "UR", 240, 60, None, "7.50",
        (Component("UA", "Urinalysis: specific gravity, pH, protein", "24356-8", kind="composite"),),
    ),
    Test(
        "UCX", "Urine culture", "microbiology", "UR", None, None, None, "38.00",
        (Component("UCX", "Bacteria identified", "630-4", kind="narrative"),),
    ),
)  # fmt: skip

# The parts of the composite value, in its order: `test_component` lists them, the result holds them in one column.
COMPOSITE_PARTS = (
    Component("UA_SG", "Specific gravity", "5811-5", None, 1.005, 1.030, 3),
    Component("UA_PH", "pH", "5803-2", "[pH]", 5.0, 8.0, 1),
    Component("UA_PRO", "Protein", "20454-5", kind="narrative"),
)
REJECT_REASONS = {
    "HEM": "Hemolyzed",
    "QNS": "Quantity not sufficient",
    "CLT": "Clotted",
    "LBL": "Unlabelled or mislabelled",
    "TMP": "Wrong temperature",
}
