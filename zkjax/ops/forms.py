"""Random forms: all cells of a matrix are in range if random sums of them are. 320 sums of each block of 4,096, in place of limbs of each.

Let I be the residues modulo p of -2^(w-1) .. 2^(w-1) - 1, 2^(w+1) < p, and c_i independent, -1, 0, 1 with probabilities 1/4, 1/2, 1/4.
If some y_j is no residue of an integer below 2^(w-1) in absolute value, then sum c_i y_i is in I with probability 3/4 at most: fix all
c_i but c_j, and let s be the sum of the others. Were s - y_j, s and s + y_j all in I, then y_j, a difference of two of them, would be an
integer below 2^w in absolute value, so s - y_j and s + y_j, as integers, would be in I; 2 y_j, their difference, would be below 2^w.

COUNT such forms of every block of cells, drawn after the commitment, show that all cells are in the forms' range: one cell that is not
passes with probability (3/4)^COUNT. The draws are the same for all blocks: some block has the cell, whatever the others do.

An honest block whose cells have the Euclidean norm N leaves -b .. b with probability 2 exp(-(b / N)^2) for each form at most, as
E exp(x c) = cosh^2(x/2) <= exp(x^2/4). So the range is wider than what it shows of honest cells: ``width``.

PROTOCOL.md, section 10.9.
"""

import math

BLOCK = 2**12  # cells of which forms are made
COUNT = 320  # forms of each block: a cell out of range passes with probability below 2^-132
FEWEST = 2**4  # blocks with one width that an honest prover shows by forms: limbs of a smaller one are few
FAILURES = 40  # an honest prover's forms leave their range with probability 2^-40


def width(norm: float, blocks: int) -> int:
    """Bits of the least signed range that the forms of honest blocks fit, of Euclidean norms up to this one; blocks: of the matrix."""
    most = norm * math.sqrt(math.log(2) * (FAILURES + 1 + math.log2(blocks * COUNT)))
    return math.ceil(most).bit_length() + 1
