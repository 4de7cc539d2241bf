"""What `lab-insights doctor` tests: every connection, permission and version of a deployment, each as one line with its remedy; it changes nothing."""

from lab_insights.doctor.check import Check, examine

__all__ = ["Check", "examine"]
