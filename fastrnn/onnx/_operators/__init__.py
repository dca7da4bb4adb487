"""ONNX's operators, one small function each; importing this package fills the table."""

from . import (
    arithmetic as arithmetic,
)
from . import (
    comparison as comparison,
)
from . import (
    control as control,
)
from . import (
    convolution as convolution,
)
from . import (
    indexing as indexing,
)
from . import (
    normalization as normalization,
)
from . import (
    pointwise as pointwise,
)
from . import (
    pooling as pooling,
)
from . import (
    products as products,
)
from . import (
    quantized as quantized,
)
from . import (
    recurrent as recurrent,
)
from . import (
    reductions as reductions,
)
from . import (
    shapes as shapes,
)
from .table import TABLE as TABLE
