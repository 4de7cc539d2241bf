"""Checks: what is evaluated of the tenants' data, and the verdicts that stand. No Dagster here; `assets.checks` shows them in the UI.

A verdict is of one tenant: it says which table and day fails and by what numbers, never by a row's value. It stands until the same thing is
evaluated again and passes, whichever run does that. So a check fails in the UI as long as it fails for any tenant, and a step refuses only the
tenants whose own input has a verdict standing.
"""
