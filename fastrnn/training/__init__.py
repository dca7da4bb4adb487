"""Training: examples, :func:`fit`, the training loop, checkpoints, learning-rate schedules and callbacks."""

from . import checkpoint, schedules
from ._data.examples import Batch, Examples
from ._run.run_state import Info, Result
from .callbacks import LossCurve, Progress, ProgressBar
from .checkpoint import Checkpoint, CheckpointError
from .fitting import fit
from .history import CSVLogger, History
from .inference import evaluate, predict
from .loop import Trainer
from .metric_callbacks import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau
from .task import LoopConfig, Task

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
