"""What `refersat bench` measures: speed, memory and sameness of the fast form of a model, and of the whole pipeline."""
