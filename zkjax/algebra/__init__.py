"""Integers, fields and vectors: everything that knows nothing of circuits."""
