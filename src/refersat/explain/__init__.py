"""Pictures of how a model came to an answer: one sheet for an image and a phrase, one panel for each step."""
