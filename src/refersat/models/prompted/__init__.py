"""Networks of the SAM family: an image is seen once, then boxes and points in it become masks."""
