"""Lab Insights: the scattered data of medical laboratories, turned into a trusted lake and reports, orchestrated by Dagster."""
