"""Measures of speed, run by hand: figures and ratios, no verdicts."""
