"""Governance: the Glue Data Catalog, the history of schemas, permissions, PHI and audit. No Dagster here."""
