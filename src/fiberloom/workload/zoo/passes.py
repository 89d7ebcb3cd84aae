"""What one pass of a language model computes: a whole prompt at once (prefill), or one more token (decode)."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from fiberloom.errors import SpecError, nearest
from fiberloom.workload.network import Network

PHASES: Final = ("prefill", "decode")
PROMPT: Final = 128
"""Tokens of a prompt when nothing is said."""


@dataclass(frozen=True)
class Pass:
    """One pass.

    Attributes:
        batch: sequences.
        tokens: computed per sequence.
        keys: tokens that a token may attend to: the prompt's in prefill, all of the context in decode.
        context: tokens per sequence that the cache has room for.
        decodes: keys and values come from the cache.
        last_only: logits are made of each sequence's last token only.
    """

    batch: int
    tokens: int
    keys: int
    context: int
    decodes: bool = False
    last_only: bool = False


def one_pass(
    *,
    batch: int = 1,
    prompt: int | None = None,
    seq: int | None = None,
    context: int | None = None,
    phase: str | None = None,
    logits: str = "all",
) -> Pass:
    """The pass that these numbers mean.

    Args:
        prompt: tokens per sequence that are computed at once; `seq` is another name for it.
        context: tokens that the cache holds, the token being decoded among them; for prefill, what it has room for.
        phase: ``prefill`` or ``decode``; None: decode if there is a context and no prompt.
        logits: of ``all`` tokens, or of the ``last``, which is all that serving needs.

    Raises:
        SpecError: if they contradict one another.
    """
    if seq is not None and prompt is not None and seq != prompt:
        raise SpecError(f"'seq' is {seq} and 'prompt' is {prompt}, which are two names for one number")
    prompt = prompt if prompt is not None else seq
    if phase is None:
        phase = "decode" if context is not None and prompt is None else "prefill"
    for given, known, what in ((phase, PHASES, "phase"), (logits, ("all", "last"), "choice of logits")):
        if given not in known:
            raise SpecError(f"there is no {what} '{given}'", hint=nearest(given, known))
    if phase == "decode":
        whole = context if context is not None else (prompt or PROMPT) + 1
        if prompt is not None and whole <= prompt:
            raise SpecError(
                f"a context of {whole} tokens has no room for a token after a prompt of {prompt}",
                hint="the context counts prompt and answer together",
            )
        return Pass(batch, 1, whole, whole, decodes=True, last_only=logits == "last")
    prompt = prompt or min(PROMPT, context or PROMPT)
    if context is not None and context < prompt:
        raise SpecError(
            f"a context of {context} tokens has no room for a prompt of {prompt}",
            hint="the context counts prompt and answer together",
        )
    return Pass(batch, prompt, prompt, context or prompt, last_only=logits == "last")


def of_one_pass(make: Callable[..., Network]) -> Callable[..., Network]:
    """`make` with the options of `one_pass`, by name, in the place of its first parameter, the pass.

    Its signature says so: that is where callers look up which options a network takes.
    """
    options = inspect.signature(one_pass).parameters
    own = list(inspect.signature(make).parameters.values())[1:]

    def called(**given: Any) -> Network:
        this = one_pass(**{name: given.pop(name) for name in options if name in given})
        return make(this, **given)

    answered: Any = called
    answered.__signature__ = inspect.Signature([*options.values(), *own])
    return called
