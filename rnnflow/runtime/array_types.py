"""What annotations say of arrays, the numbers they hold and their axes: `Float32[np.ndarray, "batch time feature"]`.

These are jaxtyping's types where somebody looks at them, a type checker or the tests, whose plugin loads jaxtyping first.
Elsewhere nobody does, and to load it would take every process a tenth of a second.
"""

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or "jaxtyping" in sys.modules:
    from jaxtyping import Bool as Bool
    from jaxtyping import Float as Float
    from jaxtyping import Float32 as Float32
    from jaxtyping import Float64 as Float64
    from jaxtyping import Int as Int
    from jaxtyping import Int8 as Int8
    from jaxtyping import Int32 as Int32
    from jaxtyping import Int64 as Int64
    from jaxtyping import UInt32 as UInt32
    from jaxtyping import UInt64 as UInt64
else:

    class _Unchecked:
        def __class_getitem__(cls, array_and_axes: tuple[Any, str]) -> Any:
            return array_and_axes[0]

    Bool = Float = Float32 = Float64 = Int = Int8 = Int32 = Int64 = UInt32 = UInt64 = _Unchecked
