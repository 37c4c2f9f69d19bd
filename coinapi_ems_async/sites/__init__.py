"""Server sites: which there are, how far they are, how they fare, and which one to take."""
