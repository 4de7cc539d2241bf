"""The report that a laboratory's director reads: one HTML page a tenant-day, which needs nothing but itself.

`queries` says what is read from the KPI tables, `tiles` and `sections` make the page's numbers and figures of its `values`, `deidentify` hides what
may not be shared, `charts` draws, `page` writes.
"""
