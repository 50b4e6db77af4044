"""Section `report`: what the page for people shows."""

from typing import Annotated

from pydantic import Field

from rnnflow.params.section import Section


class ReportParams(Section):
    """Section `report`."""

    num_errors: Annotated[int, Field(ge=0)] = 9
    """How many of the worst errors are drawn."""
