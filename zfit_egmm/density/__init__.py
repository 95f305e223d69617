"""The density p(x | theta): mixtures, conditioners, their product, and physical coordinates."""
