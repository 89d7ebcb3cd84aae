"""Vision transformers on images of 224×224."""

from __future__ import annotations

from fiberloom.workload.network import Network
from fiberloom.workload.zoo.encoder import Encoder, ImageEncoder, image_encoder


def vit_b_16(*, batch: int = 1, image: int = 224, number_format: str = "fp32") -> Network:
    """ViT-B/16 with its classifier (Dosovitskiy et al., ICLR'21, table 1: "Base")."""
    return _vit("vit_b_16", Encoder(12, 768, 12, 3072, norm_first=True), batch, image, number_format)


def deit_s(*, batch: int = 1, image: int = 224, number_format: str = "fp32") -> Network:
    """DeiT-S without distillation (Touvron et al., ICML'21, table 1: width 384, 6 heads, 12 layers)."""
    return _vit("deit_s", Encoder(12, 384, 6, 1536, norm_first=True), batch, image, number_format)


def _vit(name: str, encoder: Encoder, batch: int, image: int, number_format: str) -> Network:
    model = ImageEncoder(name, encoder, image=image)
    return image_encoder(model, batch=batch, number_format=number_format, source=f"zoo: {name}")
