"""The laboratory domain: contracts, curation, wide and long tables, KPIs. No Dagster here.

`contracts` declares each table once; `curate` and `transform` are Ibis expressions over them; `derive` runs an expression on an engine and commits it.
"""
