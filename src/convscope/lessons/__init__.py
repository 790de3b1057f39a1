"""The worked examples of a course on convolutional networks, computed by the library itself."""
