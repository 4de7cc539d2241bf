"""What `lab-insights doctor` tests: whether each connection answers and may be read, and versions, a line each with its remedy; it writes nothing."""

from lab_insights.doctor.check import Check, examine

__all__ = ["Check", "examine"]
