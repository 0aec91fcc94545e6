"""What the parts of a record have in common: nothing else may stand in them, and some values are not written."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer


class Part(BaseModel):
    """A part of a record."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SparingPart(Part):
    """One whose values in `UNSAID` are not written, so that records stay as they were before there were others."""

    UNSAID: ClassVar[dict[str, Any]] = {}

    @model_serializer(mode="wrap")
    def _said(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in dump(self).items() if self.UNSAID.get(name, ...) != value}
