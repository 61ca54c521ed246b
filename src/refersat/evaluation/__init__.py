"""Metrics, and the evaluation of a model on a data set."""
