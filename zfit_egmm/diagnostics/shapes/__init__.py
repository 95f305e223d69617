"""Do events of a density look like simulated ones? Spectra, distances, classifiers, conditional factors."""
