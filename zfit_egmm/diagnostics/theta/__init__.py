"""Does a density depend on theta as the simulation does? Tests on held-out events, and the bias that is left."""
