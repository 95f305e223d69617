"""Where a learned density is wrong: compared with held-out simulated events."""
