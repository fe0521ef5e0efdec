"""Points and labels, as metrics take them."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Integer

Points = Float[np.ndarray, "_ _"]
Labels = Integer[np.ndarray, " n"]
