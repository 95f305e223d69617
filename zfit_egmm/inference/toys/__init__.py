"""Toys: many experiments drawn from a model or from events, their results, and coverage."""
