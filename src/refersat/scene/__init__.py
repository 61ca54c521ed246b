"""Georeferenced scenes of any size: a raster and phrases in, a raster and polygons out, in bounded memory."""
