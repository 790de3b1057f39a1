"""``explain``: a Run folder and photos to maps, pictures and a page."""
