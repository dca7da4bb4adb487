"""Training: examples and :func:`fit`; the loop, its checkpoints, learning-rate schedules and callbacks."""

from . import checkpoint, schedules
from .callbacks import LossCurve, Progress, ProgressBar
from .checkpoint import Checkpoint, CheckpointError
from .config import LoopConfig, Task
from .examples import Batch, Examples
from .fitting import fit
from .history import CSVLogger, History
from .inference import evaluate, predict
from .loop import Trainer
from .monitors import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau
from .record import Info, Result

__all__ = [
    "Batch",
    "CSVLogger",
    "Checkpoint",
    "CheckpointError",
    "EarlyStopping",
    "Examples",
    "History",
    "Info",
    "LoopConfig",
    "LossCurve",
    "ModelCheckpoint",
    "Progress",
    "ProgressBar",
    "ReduceLROnPlateau",
    "Result",
    "Task",
    "Trainer",
    "checkpoint",
    "evaluate",
    "fit",
    "predict",
    "schedules",
]
