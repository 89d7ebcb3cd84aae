"""Layer after layer through a model in a single pass of the calibration data.

Every layer is to see its inputs as they come through what was compressed before it. To run the model anew for each layer takes
as many passes as there are layers; instead, all batches are carried through together. Each runs in a thread of its own, one at a
time, until it meets a layer that is still to be done, and waits there with what it has computed. When all batches wait, the layer
is done, and they go on through it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from typing import Any

import torch
from torch import Tensor, nn

from fiberloom.representation.calibration import InputStatistics
from fiberloom.representation.models.calibrate import Batch, add, call, evaluating, statistics_for
from fiberloom.representation.models.layers import Layer, replace


class Need(IntEnum):
    """What has to be known of a layer's inputs."""

    NOTHING = 0
    NORMS = 1
    SECOND_MOMENTS = 2


Done = Callable[[Layer, list[InputStatistics] | None, Tensor], nn.Module]
"""Called for each layer with statistics of its inputs, one for each group, where needed, and with its inputs in the batch that
came first; gives the layer that takes its place."""


def sweep(
    model: nn.Module,
    layers: Sequence[Layer],
    needs: Mapping[str, Need],
    batches: Sequence[Batch],
    done: Done,
    through_compressed: bool,
) -> None:
    """Replace layers of `model`, which is changed, in the order in which batches meet them.

    Memory: at the layer at hand, what every batch still needs.

    Args:
        layers: to be replaced; those that no batch meets stay.
        needs: of each, by name.
        through_compressed: whether batches go on through the layer that takes a layer's place, or through the original.

    Raises:
        SpecError: for inputs that are not finite, and when the model does not run.
    """
    _Sweep(model, layers, needs, batches, done, through_compressed).run()


class _Gate(nn.Module):
    """Stands for a layer until it is done."""

    def __init__(self, layer: Layer, arrive: Callable[[Layer, Tensor], nn.Module]) -> None:
        super().__init__()
        self.__dict__["_layer"] = layer  # no submodule: the model's structure stays as it was
        self._arrive = arrive

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_layer"].module, name)

    def forward(self, inputs: Tensor) -> Any:
        return self._arrive(self.__dict__["_layer"], inputs)(inputs)


class _Sweep:
    def __init__(
        self,
        model: nn.Module,
        layers: Sequence[Layer],
        needs: Mapping[str, Need],
        batches: Sequence[Batch],
        done: Done,
        through_compressed: bool,
    ) -> None:
        self._model, self._needs = model, needs
        self._layers = {layer.name: layer for layer in layers}
        self._batches, self._done, self._through = batches, done, through_compressed
        self._finished: dict[str, nn.Module] = {}
        self._statistics: dict[str, list[InputStatistics]] = {}
        self._waiting: dict[int, str] = {}
        self._samples: dict[str, Tensor] = {}
        self._turn = threading.Condition()
        self._running: int | None = None
        self._errors: list[BaseException] = []
        self._stopped = False
        self._current = threading.local()

    def run(self) -> None:
        for name, layer in self._layers.items():
            replace(self._model, name, _Gate(layer, self._arrive))
        threads = [
            threading.Thread(target=self._carry, args=(index,), daemon=True) for index in range(len(self._batches))
        ]
        alive = set(range(len(threads)))
        started: set[int] = set()
        try:
            with evaluating(self._model):
                while alive and not self._errors:
                    for index in sorted(alive):
                        self._resume(index, None if index in started else threads[index])
                        started.add(index)
                        if self._errors:
                            break
                    alive = set(self._waiting)
                    if alive and not self._errors:
                        self._finish(self._waiting[min(alive)])
        finally:
            self._stopped = True
            with self._turn:
                self._turn.notify_all()
            for index in started:
                threads[index].join()
            for name, layer in self._layers.items():  # originals where no batch came, or an error before it
                replace(self._model, name, self._finished.get(name, layer.module))
        if self._errors:
            raise self._errors[0]

    def _resume(self, index: int, thread: threading.Thread | None) -> None:
        """Let one batch run until it waits again or ends."""
        with self._turn:
            self._waiting.pop(index, None)
            self._running = index
            if thread is not None:
                thread.start()
            self._turn.notify_all()
            self._turn.wait_for(lambda: self._running is None)

    def _carry(self, index: int) -> None:
        self._current.index = index
        try:
            with torch.no_grad():
                call(self._model, self._batches[index])
        except _Stopped:
            pass
        except BaseException as error:
            self._errors.append(error)
        with self._turn:
            self._running = None
            self._turn.notify_all()

    def _arrive(self, layer: Layer, inputs: Tensor) -> nn.Module:
        """Take in a layer's inputs, wait until it is done, and give what the batch goes on through."""
        name = layer.name
        if name not in self._finished:
            index = self._current.index
            self._take(layer, inputs)
            self._samples.setdefault(name, inputs)
            with self._turn:
                self._waiting[index] = name
                while name not in self._finished:
                    self._running = None
                    self._turn.notify_all()
                    self._turn.wait_for(lambda: self._running == index or self._stopped)
                    if self._stopped:
                        raise _Stopped
                    self._waiting[index] = name
                del self._waiting[index]
        module: nn.Module = self._finished[name] if self._through else layer.module
        return module

    def _take(self, layer: Layer, inputs: Tensor) -> None:
        need = self._needs[layer.name]
        if need is Need.NOTHING:
            return
        if layer.name not in self._statistics:
            self._statistics[layer.name] = statistics_for(layer, need is Need.SECOND_MOMENTS)
        add(layer, inputs, self._statistics[layer.name])

    def _finish(self, name: str) -> None:
        statistics, sample = self._statistics.pop(name, None), self._samples.pop(name)
        self._finished[name] = self._done(self._layers[name], statistics, sample)


class _Stopped(Exception):
    """The sweep has ended before this batch did."""
