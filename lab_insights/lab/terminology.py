"""Declared terminology: how laboratories spell units and qualitative values, and what that is in UCUM and SNOMED CT. Data, no code."""

from __future__ import annotations

# Units of the field in UCUM (case-sensitive), https://ucum.org/ucum: what is not among them, nor declared to be UCUM, is shown as non-UCUM.
# Common ones come first.
UCUM = (
    "mg/dL", "mmol/L", "%", "g/dL", "10*3/uL", "U/L", "meq/L", "ng/mL", "10*6/uL", "fL", "pg", "u[IU]/mL", "m[IU]/L", "pg/mL", "ug/dL",
    "ng/dL", "umol/L", "s", "{INR}", "{titer}", "{ratio}", "[pH]", "mm/h", "mL/min/{1.73_m2}", "mg/L", "g/L", "ug/mL", "mg/mL", "pg/dL",
    "ug/L", "ng/L", "mol/L", "nmol/L", "pmol/L", "mosm/kg", "mosm/L", "kU/L", "U/mL", "[IU]/L", "[IU]/mL", "m[IU]/mL", "k[IU]/L", "10*9/L",
    "10*12/L", "/uL", "/[HPF]", "/[LPF]", "mm[Hg]", "[arb'U]/mL", "mL/min", "ug/g", "mg/g", "mg/mmol", "1", "min", "h", "g", "mg", "ug", "ng",
    "L", "mL",
)  # fmt: skip

# Spelling in lower case, without spaces, µ as u → UCUM. Where lower case alone decides, the unit itself is the spelling.
_SPELLINGS = {
    "mg/dl": "mg/dL", "mg%": "mg/dL", "meq/l": "meq/L", "x10e3/ul": "10*3/uL", "10e3/ul": "10*3/uL", "10^3/ul": "10*3/uL", "x10^3/ul": "10*3/uL",
    "k/ul": "10*3/uL", "k/mm3": "10*3/uL", "thou/ul": "10*3/uL", "x10(3)/mcl": "10*3/uL", "x10e6/ul": "10*6/uL", "10e6/ul": "10*6/uL",
    "10^6/ul": "10*6/uL", "x10^6/ul": "10*6/uL", "m/ul": "10*6/uL", "mil/ul": "10*6/uL", "x10(6)/mcl": "10*6/uL", "x10e9/l": "10*9/L",
    "10^9/l": "10*9/L", "x10^9/l": "10*9/L", "x10e12/l": "10*12/L", "10^12/l": "10*12/L", "x10^12/l": "10*12/L", "uiu/ml": "u[IU]/mL",
    "miu/l": "m[IU]/L", "miu/ml": "m[IU]/mL", "iu/l": "[IU]/L", "iu/ml": "[IU]/mL", "kiu/l": "k[IU]/L", "mcg/dl": "ug/dL", "mcg/ml": "ug/mL",
    "mcg/l": "ug/L", "mcg/g": "ug/g", "mcmol/l": "umol/L", "gm/dl": "g/dL", "gms/dl": "g/dL", "gm/l": "g/L", "percent": "%", "sec": "s",
    "secs": "s", "seconds": "s", "ratio": "{ratio}", "inr": "{INR}", "titer": "{titer}", "titre": "{titer}", "ph": "[pH]", "phunits": "[pH]",
    "mm/hr": "mm/h", "mmhg": "mm[Hg]", "/hpf": "/[HPF]", "/lpf": "/[LPF]", "cells/ul": "/uL", "ml/min/1.73m2": "mL/min/{1.73_m2}",
    "ml/min/1.73m^2": "mL/min/{1.73_m2}", "ml/min/1.73": "mL/min/{1.73_m2}", "au/ml": "[arb'U]/mL", "mosmol/kg": "mosm/kg", "units/l": "U/L",
    "units/ml": "U/mL", "u/l": "U/L", "femtoliter": "fL", "picogram": "pg", "hr": "h", "hours": "h",
}  # fmt: skip
UNITS: dict[str, str] = {unit.lower(): unit for unit in UCUM} | _SPELLINGS

# What `status_norm` says of a result: it was released; it is still to come, or to be released; the row is none (OBX-11 O and N).
REPORTED = ("final", "corrected", "amended", "appended")
AWAITED = ("preliminary", "registered")
NO_RESULT = ("order_detail", "not_asked")
# Statuses after which nothing more is to come of a component.
SETTLED = (*REPORTED, "cancelled", "entered_in_error", "not_asked")

# Value types whose values are `code^text^system`: HL7's, and FHIR's, which its reader writes so.
CODED_TYPES = ("CE", "CWE", "CF", "CNE", "CodeableConcept")

# Value types of days and times.
TIME_TYPES = ("DT", "TM", "DTM", "TS", "Time", "DateTime")
# Value types whose values are no numbers, whatever their digits: a code such as 10828004, a day such as 20260301.
UNNUMBERED = (*CODED_TYPES, "IS", "ID", *TIME_TYPES)

# Qualitative values in lower case → SNOMED CT, qualifier values.
WORDS: dict[str, str] = {
    "negative": "260385009", "neg": "260385009", "positive": "10828004", "pos": "10828004", "trace": "260405006", "tr": "260405006",
    "1+": "260347006", "2+": "260348001", "3+": "260349009", "4+": "260350009", "detected": "260373001", "not detected": "260415000",
    "reactive": "11214006", "non-reactive": "131194007", "nonreactive": "131194007", "normal": "17621005", "abnormal": "263654008",
    "indeterminate": "82334004", "equivocal": "42425007", "present": "52101004", "absent": "2667000",
}  # fmt: skip
