"""Tests of hypotheses: limits, significances, and confidence sets from toys."""
