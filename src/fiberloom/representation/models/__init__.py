"""Representations on PyTorch models: compress, evaluate as the hardware computes, search, fine-tune."""

from fiberloom.representation.models.compress import Compressed, compress

__all__ = ["Compressed", "compress"]
