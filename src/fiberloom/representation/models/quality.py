"""How good a model is: accuracy, perplexity, agreement with the original, or a user's own function."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from fiberloom.errors import SpecError
from fiberloom.representation.models.calibrate import Batch, call, checked_batches, evaluating


class Quality(ABC):
    """A figure of a model, higher is better, made of scores of examples.

    Attributes:
        name: of the figure.
    """

    name: str

    @abstractmethod
    def scores(self, model: nn.Module) -> NDArray[np.float64]:
        """The score of every example, ``(examples,)``; one only where examples can't be told apart."""

    def of(self, mean: NDArray[Any]) -> NDArray[Any]:
        """The quality that mean scores stand for."""
        return mean

    def __call__(self, model: nn.Module) -> float:
        """The quality of `model`."""
        return float(self.of(np.asarray(self.scores(model).mean())))


class Accuracy(Quality):
    """Share of examples whose largest output is their label.

    Args:
        inputs: ``(examples, …)``.
        labels: ``(examples,)``, or ``(examples, places)`` for models with outputs ``(examples, places, classes)``.
        batch: examples of one call.

    Raises:
        SpecError: for another number of labels than inputs.
    """

    name = "accuracy"

    def __init__(self, inputs: Tensor | NDArray[Any], labels: Tensor | NDArray[Any], batch: int = 256) -> None:
        self._inputs, self._labels = torch.as_tensor(inputs), torch.as_tensor(labels)
        if len(self._inputs) != len(self._labels) or not len(self._labels):
            raise SpecError(f"{len(self._labels)} labels for {len(self._inputs)} inputs")
        self._batch = batch

    def scores(self, model: nn.Module) -> NDArray[np.float64]:
        found = []
        with evaluating(model):
            for inputs, labels in zip(self._inputs.split(self._batch), self._labels.split(self._batch), strict=True):
                chosen = tensor_of(call(model, inputs)).argmax(-1)
                if chosen.shape != labels.shape:
                    raise SpecError(
                        f"the model's choices have the shape {tuple(chosen.shape)}, labels {tuple(labels.shape)}",
                        hint="its output is (examples, classes)",
                    )
                found.append((chosen == labels).double().flatten(1).mean(1) if labels.dim() > 1 else chosen == labels)
        return torch.cat(found).double().numpy()


class Perplexity(Quality):
    """Of a causal language model, as its inverse: the geometric mean of the probabilities that it gives to what comes next.

    A score is the mean log-probability, in nats, over a window; ``perplexity = 1 / quality``.

    Args:
        tokens: ``(windows, length)``; the model is given all but the last of each and predicts all but the first. Its output
            is ``(windows, length, vocabulary)`` logits, or an object with such ``logits``.
        batch: windows of one call.
    """

    name = "1/perplexity"

    def __init__(self, tokens: Tensor | NDArray[Any], batch: int = 16) -> None:
        self._tokens = torch.as_tensor(tokens).long()
        if self._tokens.dim() != 2 or self._tokens.shape[1] < 2 or not len(self._tokens):
            raise SpecError(
                f"windows of shape {tuple(self._tokens.shape)}", hint="(windows, length), two tokens or more each"
            )
        self._batch = batch

    def scores(self, model: nn.Module) -> NDArray[np.float64]:
        found = []
        with evaluating(model):
            for window in self._tokens.split(self._batch):
                logits = tensor_of(call(model, window[:, :-1]))
                if logits.shape[:-1] != window[:, 1:].shape:
                    raise SpecError(
                        f"the model's output {tuple(logits.shape)} is no logits for {tuple(window[:, 1:].shape)}"
                    )
                loss = F.cross_entropy(logits.flatten(0, 1).double(), window[:, 1:].flatten(), reduction="none")
                found.append(-loss.reshape(len(window), -1).mean(1))
        return torch.cat(found).numpy()

    def of(self, mean: NDArray[Any]) -> NDArray[Any]:
        return np.exp(mean)


class Agreement(Quality):
    """Mean cosine between the outputs of a model and the original's, example by example: for when nothing is labelled.

    Args:
        original: the model to agree with; run once, here.
        inputs: batches.
    """

    name = "cosine to the original"

    def __init__(self, original: nn.Module, inputs: Iterable[Batch]) -> None:
        self._batches = checked_batches(inputs)
        self._wanted = [_rows(output) for output in _outputs(original, self._batches)]

    def scores(self, model: nn.Module) -> NDArray[np.float64]:
        outputs = [_rows(output) for output in _outputs(model, self._batches)]
        cosines = [F.cosine_similarity(a, b, dim=1) for a, b in zip(outputs, self._wanted, strict=True)]
        return torch.cat(cosines).numpy()


class OutputError(Quality):
    """One minus the relative error of a model's outputs, ``‖y − y₀‖ / ‖y₀‖``, example by example.

    Args:
        original: the model whose outputs are right; run once, here.
        inputs: batches.
    """

    name = "1 - output error"

    def __init__(self, original: nn.Module, inputs: Iterable[Batch]) -> None:
        self._batches = checked_batches(inputs)
        self._wanted = [_rows(output) for output in _outputs(original, self._batches)]

    def scores(self, model: nn.Module) -> NDArray[np.float64]:
        outputs = [_rows(output) for output in _outputs(model, self._batches)]
        errors = [
            (a - b).norm(dim=1) / b.norm(dim=1).clamp_min(torch.finfo(b.dtype).tiny)
            for a, b in zip(outputs, self._wanted, strict=True)
        ]
        return 1 - torch.cat(errors).numpy()


class OwnQuality(Quality):
    """A user's function from a model to its quality, or to the scores of examples, whose mean is the quality.

    Bounds need scores: a single figure tells nothing of chance.
    """

    def __init__(self, function: Callable[[nn.Module], Any]) -> None:
        self._function = function
        self.name = getattr(function, "__name__", type(function).__name__)

    def scores(self, model: nn.Module) -> NDArray[np.float64]:
        try:
            with evaluating(model):
                result = self._function(model)
        except SpecError:
            raise
        except Exception as error:
            place = _place(error)
            raise SpecError(
                f"the quality function '{self.name}' raised {type(error).__name__}{place}: {_first_line(error)}",
                hint="it is called with a model and gives a number, higher is better, or an array of one for each example",
            ) from error
        try:
            values = np.atleast_1d(
                np.asarray(result.detach().cpu() if isinstance(result, Tensor) else result, np.float64)
            )
        except (TypeError, ValueError):
            values = np.array([math.nan])
        if values.ndim != 1 or values.size == 0 or not np.isfinite(values).all():
            raise SpecError(
                f"the quality function '{self.name}' gave {str(result)[:80]}",
                hint="a finite number, higher is better, or an array of one for each example",
            )
        return values


def read_quality(quality: Quality | Callable[[nn.Module], Any]) -> Quality:
    """`quality` itself, or a user's function as one.

    Raises:
        SpecError: for what can't be called.
    """
    if isinstance(quality, Quality):
        return quality
    if not callable(quality):
        raise SpecError(f"a quality is a function from a model to a number, not {type(quality).__name__}")
    return OwnQuality(quality)


def _outputs(model: nn.Module, batches: Sequence[Batch]) -> Iterable[Tensor]:
    with evaluating(model):
        for batch in batches:
            yield tensor_of(call(model, batch))


def _rows(output: Tensor) -> Tensor:
    return output.detach().double().flatten(1) if output.dim() > 1 else output.detach().double().unsqueeze(1)


def tensor_of(output: Any) -> Tensor:
    """The tensor that a model's output is or leads with."""
    if isinstance(output, Tensor):
        return output
    for name in ("logits", "last_hidden_state"):  # transformers' outputs
        if hasattr(output, name):
            return tensor_of(getattr(output, name))
    if isinstance(output, tuple | list) and output:
        return tensor_of(output[0])
    raise SpecError(f"the model's output, a {type(output).__name__}, leads with no tensor")


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0][:200]


def _place(error: BaseException) -> str:
    """Where the user's code raised: the innermost line outside this package's caller."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f" at {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else ""
