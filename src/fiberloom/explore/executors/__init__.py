"""Where designs are evaluated: in this process, in others, on other machines."""

from fiberloom.explore.executors._base import Executor
from fiberloom.explore.executors.serial import Serial

__all__ = ["Executor", "Serial"]
