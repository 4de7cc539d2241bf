"""Tenants: the registry is the truth about who they are; everything else is derived from it. No Dagster here."""
