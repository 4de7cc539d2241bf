"""`lab_insights.yaml`: what it may say (`sources`, and `models` for the rest), and how it is found and read (`file`)."""

from lab_insights.config.file import LOADER, load, locate
from lab_insights.config.models import AlertsSection, Config, EmrSection, Phi, PhiSection, SnowflakeSection, SparkSection
from lab_insights.config.parts import Reference, Zone
from lab_insights.config.sources import DiscriminatorTenancy, Engine, Layout, Limits, Override, PrefixTenancy, Source, logical, namesakes

__all__ = [
    "LOADER",
    "AlertsSection",
    "Config",
    "DiscriminatorTenancy",
    "EmrSection",
    "Engine",
    "Layout",
    "Limits",
    "Override",
    "Phi",
    "PhiSection",
    "PrefixTenancy",
    "Reference",
    "SnowflakeSection",
    "Source",
    "SparkSection",
    "Zone",
    "load",
    "locate",
    "logical",
    "namesakes",
]
