"""Settings of downstream figures: flags of `qbench run` and `qbench downstream`, beside those of a run."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator

from ..settings import setting


class DownstreamSettings(BaseModel):
    """Whether stored predictions are asked what they are good for, and with which gene sets."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    downstream: bool = setting(
        False, "Also what the predictions are good for: space, domains, gene sets, profiles (docs/scores.md).", ("run",)
    )
    gene_sets: tuple[str, ...] = setting(
        ("breast",), "Gene sets to score: breast, or FILE.gmt; may be repeated", ("run", "downstream")
    )

    @field_validator("gene_sets", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        """One string with commas, or several of them."""
        given = [value] if isinstance(value, str) else value
        return tuple(part.strip() for each in given for part in str(each).split(",") if part.strip())
