"""Where the cache is; apart from the cache itself, so that starting the command line does not load numpy."""

from __future__ import annotations

import os
from pathlib import Path


def default_root() -> Path:
    """The folder named by QBENCH_CACHE, else the user's cache folder."""
    import platformdirs

    return Path(os.environ.get("QBENCH_CACHE") or platformdirs.user_cache_dir("qbench")).expanduser().absolute()
