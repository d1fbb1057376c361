"""Statements and proofs: the files, what they say, and what they are worth."""
