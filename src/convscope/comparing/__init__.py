"""One ladder of ways to classify, climbed on the same photos: every step measured and tested."""
