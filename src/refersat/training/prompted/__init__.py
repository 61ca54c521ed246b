"""Training of networks that boxes and points prompt: the compact SAM 2, and the mask decoders of others."""
