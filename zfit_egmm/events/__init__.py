"""Events: columns of observables with weights and parameters, from arrays or ROOT files."""
