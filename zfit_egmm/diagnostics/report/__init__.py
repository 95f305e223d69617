"""All diagnostics of a density one after the other, judged, and on a page."""
