"""Design spaces: parameters, designs as points, and specifications with choices in them."""

from fiberloom.explore.space.design_space import DesignSpace, Point, Requirement
from fiberloom.explore.space.parameter import Parameter
from fiberloom.explore.space.reading import SpaceFile, parse_space, read_space, space_names
from fiberloom.explore.space.template import Template

__all__ = [
    "DesignSpace",
    "Parameter",
    "Point",
    "Requirement",
    "SpaceFile",
    "Template",
    "parse_space",
    "read_space",
    "space_names",
]
