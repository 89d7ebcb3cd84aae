"""Cost models behind one mapping: the sparse model, a roofline bound, and a data-centric model."""
