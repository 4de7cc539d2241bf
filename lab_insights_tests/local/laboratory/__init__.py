"""Tests of the synthetic laboratory."""
