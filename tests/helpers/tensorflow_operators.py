"""TensorFlow's own registry of operators, and what each of them can do beside arithmetic."""

from __future__ import annotations

from functools import cache
from typing import Any


@cache
def registry() -> dict[str, Any]:
    """Return the definitions of all operators that are registered in this process, by name."""
    import tensorflow as tf
    from tensorflow.core.framework.op_def_pb2 import OpList
    from tensorflow.python.client import pywrap_tf_session

    assert tf.raw_ops
    listed = OpList.FromString(pywrap_tf_session.TF_GetBuffer(pywrap_tf_session.TF_GetAllOpList()))
    return {definition.name: definition for definition in listed.op}


def reasons(definition: Any) -> list[str]:
    """Return why an operator may touch files, addresses, processes, Python or memory of others."""
    from tensorflow.core.framework.types_pb2 import DT_RESOURCE, DT_STRING, DT_VARIANT

    types = {argument.type for argument in (*definition.input_arg, *definition.output_arg)}
    texts = [one for one in definition.attr if "string" in one.type and not one.allowed_values.list.s]
    calls = [one for one in definition.attr if "func" in one.type]
    found = {
        "keeps a state": definition.is_stateful,
        "takes or returns text, handles or variants": types & {DT_STRING, DT_RESOURCE, DT_VARIANT},
        "has an attribute of free text": texts,
        "calls a function": calls,
    }
    return [reason for reason, holds in found.items() if holds]


def reaching_out() -> dict[str, list[str]]:
    """Return every operator that is more than arithmetic, with the reasons."""
    return {name: found for name, definition in registry().items() if (found := reasons(definition))}
