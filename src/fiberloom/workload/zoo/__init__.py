"""The zoo: published networks by name, generated from the rules that define them.

``build("resnet50", dims={"batch": 16})``. What is published about each stands in `published` and is compared by
``fiberloom models``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fiberloom.errors import SpecError, nearest
from fiberloom.workload.network import Network
from fiberloom.workload.zoo import convolutional, language_models, vision_transformers
from fiberloom.workload.zoo.language_models import decoder_of, encoder_of
from fiberloom.workload.zoo.published import PUBLISHED, Published

SIZES: Final = ("batch", "image", "seq", "prompt", "context")
"""Names that sizes of networks have; each network takes some."""


@dataclass(frozen=True)
class Model:
    """A network of the zoo.

    Attributes:
        make: its sizes and options are its keyword arguments.
        defined_by: the publication that it follows.
    """

    name: str
    make: Callable[..., Network]
    defined_by: str

    @property
    def published(self) -> tuple[Published, ...]:
        """Figures to compare with."""
        return PUBLISHED[self.name]

    @property
    def takes(self) -> tuple[str, ...]:
        """Names of its sizes and options."""
        return tuple(inspect.signature(self.make).parameters)


MODELS: Final[Mapping[str, Model]] = {
    model.name: model
    for model in (
        Model("alexnet", convolutional.alexnet, "Krizhevsky, arXiv:1404.5997, §5; torchvision's sizes"),
        Model("vgg16", convolutional.vgg16, "Simonyan and Zisserman, ICLR'15, table 1, D"),
        Model("resnet18", convolutional.resnet18, "He et al., CVPR'16, table 1"),
        Model("resnet50", convolutional.resnet50, "He et al., CVPR'16, table 1; stride in the 3×3 (v1.5)"),
        Model("mobilenet_v2", convolutional.mobilenet_v2, "Sandler et al., CVPR'18, table 2"),
        Model("vit_b_16", vision_transformers.vit_b_16, "Dosovitskiy et al., ICLR'21, table 1"),
        Model("deit_s", vision_transformers.deit_s, "Touvron et al., ICML'21, table 1"),
        Model("bert_base", encoder_of(language_models.BERT_BASE), "Devlin et al., NAACL'19, §3"),
        Model("bert_large", encoder_of(language_models.BERT_LARGE), "Devlin et al., NAACL'19, §3"),
        Model("gpt2", decoder_of(language_models.GPT2, "fp32"), "Radford et al., 2019, table 2"),
        Model("gpt3_6_7b", decoder_of(language_models.GPT3_6_7B, "fp16"), "Brown et al., NeurIPS'20, table 2.1"),
        Model("llama2_7b", decoder_of(language_models.LLAMA2_7B, "bf16"), "Touvron et al., arXiv:2307.09288, table 1"),
        Model(
            "llama2_70b", decoder_of(language_models.LLAMA2_70B, "bf16"), "Touvron et al., arXiv:2307.09288, table 1"
        ),
    )
}
"""Networks by name."""


def spelled(name: str) -> str | None:
    """The zoo's spelling of a name, whatever its case, dashes, dots and underscores; None if it is of no network."""
    plain = {_plain(known): known for known in MODELS}
    return plain.get(_plain(name))


def build(name: str, *, dims: Mapping[str, int] | None = None, **options: Any) -> Network:
    """The network `name` at the sizes `dims`.

    Args:
        dims: of `SIZES`, those that the network has; the others stay as `make` has them.
        options: such as ``number_format``, ``phase``, ``stride_in``; None: as if not given.

    Raises:
        SpecError: for a name, size or option that is not known, or sizes that contradict one another.
    """
    known = spelled(name)
    if known is None:
        raise SpecError(f"there is no network '{name}' in the zoo", hint=nearest(name, MODELS))
    return sized(known, MODELS[known].make, dims or {}, options)


def sized(name: str, make: Callable[..., Network], dims: Mapping[str, int], options: Mapping[str, Any]) -> Network:
    """What `make` makes at these sizes, with these options; an option that is None counts as not given.

    Raises:
        SpecError: for a size or an option that `make` does not take.
    """
    takes = tuple(inspect.signature(make).parameters)
    given = {**dims, **{key: value for key, value in options.items() if value is not None}}
    for key in given:
        if key not in takes:
            raise SpecError(f"{name} has no '{key}'", hint=nearest(key, takes))
    return make(**given)


def _plain(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())
