"""The argument: how claims about a circuit's tensors are reduced, message by message, by prover and verifier alike."""
