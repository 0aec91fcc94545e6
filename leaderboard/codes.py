"""How much of a codebook a method uses: a quantiser that uses few codes has collapsed as surely as a mean."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

CODE_COUNTS = "code_counts"  # the diagnostic: training spots of each code in use, int64 (used,)


def perplexity(counts: NDArray[Any]) -> float:
    """Exponential of the entropy of code usage: the number of codes, if all in use were used alike."""
    share = counts[counts > 0] / counts.sum()
    return float(np.exp(-(share * np.log(share)).sum()))
