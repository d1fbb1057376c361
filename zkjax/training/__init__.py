"""Training in exact integers, and runs that are saved."""
