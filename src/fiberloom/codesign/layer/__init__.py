"""A layer with represented operands on a design: what its terms run as, the problems to map, and their cost."""
