"""Imported once by the server that cells are forked from: the packages that nearly every cell needs."""

import anndata  # noqa: F401
import pandas  # noqa: F401
import pyarrow.parquet  # noqa: F401
import safetensors.torch  # noqa: F401
import scipy.sparse  # noqa: F401
import torch  # noqa: F401

from . import cell  # noqa: F401
