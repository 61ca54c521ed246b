"""PSLG-SAM: a grounder finds the box that a phrase means, SAM segments it without having been trained for it.

Source: Li, Wang, Xie, Sun, "Semantic Localization Guiding Segment Anything Model For Reference Remote Sensing Image
Segmentation" (arXiv 2506.10503). Its code was never published; what the paper leaves open is an option of
`foreground.PointOptions` and `boundary.BoundaryOptions`.
"""
