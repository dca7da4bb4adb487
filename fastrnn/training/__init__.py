"""Training: the loop, its checkpoints, learning-rate schedules and callbacks."""

from . import checkpoint, schedules
from .callbacks import LossCurve, Progress
from .checkpoint import Checkpoint, CheckpointError
from .loop import LoopConfig, Task, Trainer
from .record import Info, Result

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "Info",
    "LoopConfig",
    "LossCurve",
    "Progress",
    "Result",
    "Task",
    "Trainer",
    "checkpoint",
    "schedules",
]
