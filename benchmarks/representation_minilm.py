"""all-MiniLM-L6-v2 (Wang et al., arXiv:2002.10957; sentence-transformers) in plain PyTorch, from its published files."""

from __future__ import annotations

import ast
import random
import sysconfig
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class MiniLM(nn.Module):
    """BERT with six layers of width 384, twelve heads; embeddings are means over tokens, of length one."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places, self.types = nn.Embedding(30522, 384), nn.Embedding(512, 384), nn.Embedding(2, 384)
        self.norm = nn.LayerNorm(384, eps=1e-12)
        layer = nn.TransformerEncoderLayer(
            384, 12, 1536, dropout=0.0, activation="gelu", layer_norm_eps=1e-12, batch_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, 6, enable_nested_tensor=False)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Embeddings ``(texts, 384)`` of tokens ``(texts, length)``; `mask` is 0 at padding."""
        states = self.words(tokens) + self.places(torch.arange(tokens.shape[1])) + self.types.weight[0]
        states = self.encoder(self.norm(states), src_key_padding_mask=mask == 0)
        return F.normalize((states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True), dim=1)


def minilm(folder: Path, count: int = 384, batch: int = 32) -> tuple[MiniLM, list[tuple[Tensor, Tensor]]]:
    """The model, and batches of docstrings of Python's standard library (tokens and mask), shuffled."""
    from safetensors.torch import load_file
    from tokenizers import Tokenizer

    theirs = load_file(folder / "model.safetensors")
    ours = {
        "words.weight": theirs["embeddings.word_embeddings.weight"],
        "places.weight": theirs["embeddings.position_embeddings.weight"],
        "types.weight": theirs["embeddings.token_type_embeddings.weight"],
        "norm.weight": theirs["embeddings.LayerNorm.weight"],
        "norm.bias": theirs["embeddings.LayerNorm.bias"],
    }
    parts = {
        "attention.output.dense": "self_attn.out_proj",
        "attention.output.LayerNorm": "norm1",
        "intermediate.dense": "linear1",
        "output.dense": "linear2",
        "output.LayerNorm": "norm2",
    }
    for index in range(6):
        source, target = f"encoder.layer.{index}.", f"encoder.layers.{index}."
        for kind in ("weight", "bias"):
            projections = [theirs[f"{source}attention.self.{p}.{kind}"] for p in ("query", "key", "value")]
            ours[f"{target}self_attn.in_proj_{kind}"] = torch.cat(projections)
            ours |= {f"{target}{mine}.{kind}": theirs[f"{source}{name}.{kind}"] for name, mine in parts.items()}
    model = MiniLM()
    model.load_state_dict(ours)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(128)
    tokenizer.enable_padding(length=128)
    texts = docstrings()[:count]
    batches = []
    for start in range(0, len(texts), batch):
        encoded = tokenizer.encode_batch(texts[start : start + batch])
        batches.append((torch.tensor([e.ids for e in encoded]), torch.tensor([e.attention_mask for e in encoded])))
    return model.eval(), batches


def docstrings() -> list[str]:
    """Docstrings of functions and classes in the standard library's modules, shuffled."""
    found = []
    for file in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(errors="ignore"))):
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node):
                found.append(ast.get_docstring(node) or "")
    random.Random(0).shuffle(found)
    return found
