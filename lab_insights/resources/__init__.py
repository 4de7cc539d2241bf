"""Dagster resources: thin adapters that open the product's own objects from `lab_insights.yaml` when a run needs them, never at import."""
