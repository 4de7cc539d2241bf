"""The warehouse: Snowflake, a database per tenant. No Dagster here.

`session` speaks to Snowflake, `types`, `ddl` and `sql` are pure builders, `schema_sync` brings tables to the shape of
the lake, `masking` puts the policy of its PHI class on each column, `load` is the only code that writes rows, in their
de-identified form too (`deidentified`), `reports` materialises the KPIs, `reconcile` proves that a tenant's
tables equal the lake.
"""
