"""What all sections of `params.yaml` share: names are checked, values are strict, nothing changes them."""

import difflib
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Share = Annotated[float, Field(gt=0, lt=1)]
Probability = Annotated[float, Field(ge=0, lt=1)]


class Section(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True, allow_inf_nan=False
    )

    @model_validator(mode="before")
    @classmethod
    def _know_every_name(cls, content: object) -> object:
        known = list(cls.model_fields)
        for name in content if isinstance(content, dict) else ():
            if name not in known:
                close = difflib.get_close_matches(str(name), known, n=1)
                advice = f"did you mean {close[0]!r}?" if close else f"expected one of {', '.join(known)}"
                raise PydanticCustomError("unknown", "unknown parameter; {advice}", {"name": name, "advice": advice})
        return content
