"""Searches over map spaces: the exact mapper, and every published one behind a single interface."""
