"""The small network as a float graph, run as it lies."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def run(data: bytes, batch: NDArray[Any], tensor: int | None = None) -> NDArray[Any]:
    """Outputs (or another tensor) of every image, by LiteRT's builtin kernels."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    made = Interpreter(
        model_content=data, experimental_op_resolver_type=resolver, experimental_preserve_all_tensors=True
    )
    made.allocate_tensors()
    entry, out = made.get_input_details()[0], made.get_output_details()[0]["index"]
    found = []
    for image in batch:
        made.set_tensor(entry["index"], image[None].astype(entry["dtype"]))
        made.invoke()
        found.append(made.get_tensor(out if tensor is None else tensor)[0].copy())
    return np.array(found)
