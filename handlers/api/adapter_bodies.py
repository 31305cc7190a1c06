"""What clients send about adapters, as pydantic models, which are also their documentation."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

MAX_PRIORITY = 1000

VersionName = Annotated[str, Field(min_length=1, max_length=64)]
_Key = Annotated[str, Field(min_length=1, max_length=64)]
# What every JSON reader keeps exactly.
_Whole = Annotated[int, Field(ge=-(2**53), le=2**53)]
_Value = str | bool | _Whole | None


class _Body(BaseModel):
    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, hide_input_in_errors=True
    )


class ConfigurationBody(_Body):
    """Changes of an adapter's configuration; what is not named stays as it is."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"configuration": {"account_sid": "AC0123", "auth_token": "…", "sender": None}}
            ]
        }
    )

    configuration: Annotated[dict[_Key, _Value], Field(max_length=64)] = Field(
        description="New values by key; null removes one. Which keys there are, the adapter's "
        "manifest says."
    )
    version: VersionName | None = Field(
        None,
        description="A version that the configuration has to suit besides the one in use: the one "
        "that is to be activated next.",
    )


class ActivationBody(_Body):
    """Which version to put to use, and where it comes in the choice."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"version": "1.2.0"}]})

    version: VersionName | None = Field(
        None,
        description="Its number, or the beginning of its digest, at least eight digits. Left out, "
        "it is the newest; with a `priority` alone, the one in use stays.",
    )
    priority: Annotated[int, Field(ge=0, le=MAX_PRIORITY)] | None = Field(
        None,
        description="Among several adapters of a channel the lowest number goes first; 100 unless "
        "it was set.",
    )
