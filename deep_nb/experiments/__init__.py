"""Experiments: the code behind the larger notebooks. Not public; the notebooks call it."""
