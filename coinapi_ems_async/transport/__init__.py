"""How requests travel: the seam (`base`) and what stands behind it."""
