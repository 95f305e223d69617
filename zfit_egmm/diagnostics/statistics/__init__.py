"""Numbers of weighted events: bins, means, tests that means vanish, areas under ROC curves, slices of theta."""
