"""The parts of the envelope that all answers share, for the documents."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Failure", "Meta"]


class Meta(BaseModel):
    """When an answer was made, and its id in the log."""

    model_config = ConfigDict(extra="allow")

    timestamp: str = Field(description="ISO 8601, UTC", examples=["2026-06-14T17:03:35.170Z"])
    request_id: str = Field(description="UUID", examples=["0b5f4d4e-7b2e-4a55-9a3d-0e4a3f3f8a51"])


class Failure(BaseModel):
    """Why there is no answer."""

    data: None = Field(description="there is none")
    meta: Meta
    status: Literal["error"]
    message: str = Field(
        description="what is wrong and what to do", examples=["depth='0' cannot be; give a whole number from 1 to 100"]
    )
    success: Literal[False]
