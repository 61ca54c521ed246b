"""Stage 1 of PSLG-SAM: a phrase and an image in, one box and its score out."""
