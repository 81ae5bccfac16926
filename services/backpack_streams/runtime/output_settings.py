"""The setting of commands that print for people or for programs."""

from pydantic import Field

from backpack_streams.runtime.settings import Settings


class OutputSettings(Settings):
    """The output format of a command."""

    json_output: bool = Field(
        default=False, description="print one JSON object a line", json_schema_extra={"flag": "--json"}
    )
