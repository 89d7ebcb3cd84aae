"""What a represented model is still good for: a function of the user's, or the error of its layers' outputs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from fiberloom.errors import FiberloomError, SpecError

OUTPUT_ERROR: Final = "output error"
WEIGHTS_ARE_NO_PROXY: Final = (
    "errors of weights and of layers are no proxy for accuracy: a quality function says what the model loses"
)


@dataclass(frozen=True)
class Quality:
    """What is asked of a represented model.

    Attributes:
        name: for tables and axes.
        lower_is_better: such as for a perplexity.
        function: of the represented model, a PyTorch module where the network was read from one, else a mapping of tensor names
            to arrays; None: the root mean square of the layers' relative output errors.
    """

    name: str = OUTPUT_ERROR
    lower_is_better: bool = True
    function: Callable[[Any], float] | None = None

    def loss(self, value: float | None) -> float | None:
        """`value` turned such that less is better."""
        return value if value is None or self.lower_is_better else -value

    def of(self, model: Any) -> float:
        """What the function says of a represented model.

        Raises:
            SpecError: if it raises, or returns no finite number.
        """
        assert self.function is not None
        try:
            value = float(self.function(model))
        except FiberloomError:
            raise
        except (Exception, SystemExit) as error:  # the user's own code
            first = (str(error).strip().splitlines() or [""])[0][:300]
            raise SpecError(
                f"the quality function '{self.name}' raised {type(error).__name__}: {first}",
                hint="it is called with the represented model and returns one number",
            ) from None
        if not math.isfinite(value):
            raise SpecError(f"the quality function '{self.name}' returned {value}", hint="it returns one finite number")
        return value


def read_quality(text: str | None, *, lower_is_better: bool = False) -> Quality:
    """The quality function that ``module.py:function`` names; the output error without one.

    Raises:
        SpecError: if there is no such function, or importing it raises.
    """
    if text is None:
        if lower_is_better:
            raise SpecError(
                "no quality function is given whose values could be lower", hint="--quality module.py:function"
            )
        return Quality()
    from fiberloom.workload.importers.torch_export import named_function

    place, colon, name = text.rpartition(":")
    if not colon or not place or not name.isidentifier():
        raise SpecError(f"'{text}' names no function", hint="write module.py:function")
    return Quality(name, lower_is_better, named_function(place, name))
