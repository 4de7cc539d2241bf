"""Extraction: catalog → plan → safe projection → read → land, for one tenant's table and day. No Dagster here.

`catalog` says what a source holds, `plan` chooses the load, `window` the cursor window that is safe to read, `projection` the SQL that alters no
value, `read` streams it as Arrow, `land` runs all of it and commits a batch a day.
"""
