"""The warehouse: Snowflake, a database per tenant. No Dagster here.

`session` speaks to Snowflake, `types`, `ddl` and `sql` are pure builders, `schema_sync` brings tables to the shape of
the lake, `load` is the only code that writes rows, `reports` materialises the KPIs, `reconcile` proves that a tenant's
tables equal the lake.
"""
