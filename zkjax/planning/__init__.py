"""What a training and its proofs will take, before any work: sizes, and the speed of a machine."""
