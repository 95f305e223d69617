"""The demo: from simulated H -> 4l events to a trained density and an unbinned fit."""
