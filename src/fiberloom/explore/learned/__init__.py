"""One-shot design of accelerators by learned models, on labels made exhaustively by fiberloom itself."""
