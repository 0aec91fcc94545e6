"""Lists of whole numbers as people write them, `8-5-5-5`: read and shown here alone."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BeforeValidator


def dashed(value: Any) -> Any:
    """A list or tuple as `8-5-5-5`; anything else as it is."""
    return "-".join(map(str, value)) if isinstance(value, list | tuple) else value


def undashed(value: Any) -> Any:
    """`8-5-5-5` and `[8,5,5,5]`, as texts, as the list of their numbers, still texts; anything else as it is."""
    return re.findall(r"[^\s,\-\[\]]+", value) if isinstance(value, str) else value


AsList = BeforeValidator(undashed)  # annotates a tuple parameter that is also written as 8-5-5-5
