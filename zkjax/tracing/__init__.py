"""From a user's loss and optimizer to a circuit."""
