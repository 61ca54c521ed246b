"""Catalogues of images and scenes: one answer for each row, on this machine or on a Ray cluster."""
