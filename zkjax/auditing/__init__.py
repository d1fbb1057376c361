"""What proofs let people conclude: one published folder, checked as a whole, and what follows from it."""
