"""A model as graphs that other programs run without this package: made, written, checked."""
