"""Training: from an EventSample to a Density."""
