"""Transfer: photos once through a pre-trained network, something small on top."""
