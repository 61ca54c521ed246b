"""The language-query grounder as a task of the training loop."""
