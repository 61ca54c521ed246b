"""Readers and writers of data sets of images, phrases and masks."""
