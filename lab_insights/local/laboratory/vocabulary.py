"""Invented words: nobody is called like this, telephones are of the 555-01xx block, hosts are under example.org."""

from __future__ import annotations

GIVEN_NAMES = (
    "Testa", "Samplo", "Mocka", "Dummyn", "Placeh", "Fixtor", "Lorema", "Ipsuma", "Fooba", "Bazzel", "Quxia", "Stubb",
    "Fakira", "Demora", "Proxi", "Examplia",
)  # fmt: skip
FAMILY_NAMES = (
    "Testwell", "Samplesmith", "Mockridge", "Placeholt", "Dummersby", "Fixturelli", "Loremann", "Prøvesen",
    "Beispielmüller", "Muestraño", "Exemplé", "O'Specimen", "Synthé & Fille", "Stubbington", "Fakeley", "Nullmark",
)  # fmt: skip
CITIES = (
    ("Exampleton", "NY", "10001"), ("Sampleburg", "IL", "60601"), ("Testville", "CA", "94016"),
    ("Mockport", "WA", "98101"), ("Fixture Falls", "TX", "73301"), ("Demo Springs", "CO", "80014"),
)  # fmt: skip
ACCOUNT_KINDS = ("Clinic", "Family Practice", "Hospital", "Urgent Care", "Pediatrics", "Oncology Group")
SPECIALTIES = ("Family medicine", "Internal medicine", "Cardiology", "Oncology", "Pediatrics", "Emergency medicine")
CREDENTIALS = ("MD", "DO", "NP", "PA-C")
TEAMS = ("Client services", "Sales", "Logistics")
WARDS = ("ED", "ICU", "4 West", "Outpatient draw", "Oncology day unit")
CASE_SUBJECTS = (
    "Missing result",
    "Specimen not picked up",
    "Wrong provider on report",
    "Delayed STAT",
    "Billing question",
)
ROOT_CAUSES = ("Courier delay", "Interface error", "Registration error", "Instrument downtime", None)
TASK_SUBJECTS = ("Call back the office", "Send supply kit", "Review interface mapping", "Confirm courier window")
MEMO_TYPES = ("Site visit", "Phone call", "Training")
STAGES = ("prospecting", "qualified", "proposal", "won", "lost")
NARRATIVES = (
    "No growth after 48 hours",
    "Mixed flora, probable contamination; suggest recollection",
    ">100,000 CFU/mL Escherichia coli\nsusceptible to nitrofurantoin | see chart",
)
FREE_TIMES = ("0715", "7:15 AM", "approx. 7", "07h15", "early", "23:59:60")
LABS = ("Main Laboratory", "North Annex", "Stat Laboratory")
# Drugs that the result of a test is followed by: code and name in RxNorm, tablets a day.
DRUGS = {
    "INR": ("855332", "Warfarin Sodium 5 MG Oral Tablet", 1),
    "TSH": ("966224", "Levothyroxine Sodium 0.05 MG Oral Tablet", 1),
    "LIPID": ("617311", "Atorvastatin 40 MG Oral Tablet", 1),
    "BMP": ("314076", "Lisinopril 10 MG Oral Tablet", 1),
}
