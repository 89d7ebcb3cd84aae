"""The weights of a network: where they come from, what representing them does to them and to the model."""
