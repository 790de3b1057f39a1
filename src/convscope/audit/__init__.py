"""Shortcuts over a whole data set: what gives a class away that is not the thing itself."""
