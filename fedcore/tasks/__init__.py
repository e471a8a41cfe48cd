"""What workers train: the interface that a user implements, ready-made adapters, and the demonstration on handwritten digits."""
