"""The networks, one concept of the papers per file: they know nothing of files, rasters or the command line."""
