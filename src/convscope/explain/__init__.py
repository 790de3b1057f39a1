"""What does a network look at: maps of what an answer rests on, for any network."""
