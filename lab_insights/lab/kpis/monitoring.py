"""The small list that `patient_insight` is made with: analytes with their natural variation, and drugs with the analytes that monitor them."""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Annotated

from pydantic import Field

from lab_insights.lab.contracts import Model, validated

LIST = Path(__file__).with_name("monitoring.yaml")
_Loinc = Annotated[str, Field(pattern=r"^\d{1,5}-\d$")]
_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9 ]+$")]


class Analyte(Model):
    """An analyte: its variation within persons (a coefficient, in percent), and the days after which a value out of its range is to be measured again."""

    loinc: _Loinc
    name: _Name
    within_person_cv: float | None = Field(None, gt=0)
    follow_up_days: int | None = Field(None, gt=0)
    source: str = Field(min_length=10)

    @property
    def change_limit(self) -> float | None:
        """The reference change value in percent, to the tenth: two values that differ by more differ for a reason."""
        return None if self.within_person_cv is None else round(1.96 * math.sqrt(2 * 1.25) * self.within_person_cv, 1)


class Drug(Model):
    """A drug beside the analyte that monitors it."""

    name: _Name
    rxnorm: Annotated[str, Field(pattern=r"^\d+$")]
    loinc: _Loinc
    due_days: int = Field(gt=0)
    source: str = Field(min_length=10)


class Monitoring(Model):
    """The whole list."""

    analytes: tuple[Analyte, ...]
    drugs: tuple[Drug, ...]


@functools.cache
def monitoring() -> Monitoring:
    """Return the list."""
    return validated(LIST, Monitoring)
