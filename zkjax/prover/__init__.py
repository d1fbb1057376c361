"""The prover: tensors, tables and commitments behind the messages."""
