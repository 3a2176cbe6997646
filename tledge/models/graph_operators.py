"""List the TensorFlow operators that a graph of somebody else may hold, with their attributes.

A graph of somebody else is a program: among TensorFlow's two thousand operators are some that read a file
(`ImmutableConst`), write to an address (`DebugIdentity`), call Python (`PyFuncStateless`) or end the
process (`Abort`), and their type says nothing of it. So this is a list of what is allowed.

How it was chosen: what the inference branch of image modules needs (those of TensorFlow Hub: MobileNet,
Inception, ResNet, BiT, EfficientNet, NASNet; and all of `keras.applications`, exported as SavedModels), and
the rest of the arithmetic that such modules are written in. Every operator takes and returns numbers, keeps
no state and calls no function; a text attribute is one of the words that the operator's definition declares.
`Einsum` is not on the list: its equation is free text. To add an operator, write it here with its
attributes; a test compares the list with TensorFlow's own registry of operators.
"""

from __future__ import annotations

NUMBERS = frozenset({1, 2, 3, 4, 5, 6, 9, 10, 14, 17, 19, 22, 23})
"""Types by TensorFlow's numbers: float32, float64, int32, uint8, int16, int8, int64, bool, bfloat16, uint16,
float16, uint32, uint64."""

_T = ("T",)
_REDUCTION = ("keep_dims", "T", "Tidx")
_CONVOLUTION = ("T", "strides", "padding", "explicit_paddings", "data_format", "dilations")
_POOLING = ("T", "ksize", "strides", "padding", "data_format")
_BATCH_NORM = ("T", "epsilon", "exponential_avg_factor", "data_format", "is_training")
_RESIZE = ("T", "align_corners", "half_pixel_centers")
_BATCH_MATMUL = ("T", "adj_x", "adj_y", "grad_x", "grad_y")
_COMPARISON = ("T", "incompatible_shape_error")

OPERATORS: dict[str, tuple[str, ...]] = {
    # Inputs, weights and constants.
    "Placeholder": ("dtype", "shape"),
    "Const": ("dtype", "value"),
    "Identity": _T,
    "IdentityN": _T,
    "StopGradient": _T,
    # Convolutions, and the layers that are matrix products.
    "Conv2D": (*_CONVOLUTION, "use_cudnn_on_gpu"),
    "DepthwiseConv2dNative": _CONVOLUTION,
    "SpaceToBatchND": ("T", "Tblock_shape", "Tpaddings"),
    "BatchToSpaceND": ("T", "Tblock_shape", "Tcrops"),
    "SpaceToDepth": ("T", "block_size", "data_format"),
    "DepthToSpace": ("T", "block_size", "data_format"),
    "ExtractImagePatches": ("T", "ksizes", "strides", "rates", "padding"),
    "MatMul": ("T", "transpose_a", "transpose_b", "grad_a", "grad_b"),
    "BatchMatMul": _BATCH_MATMUL,
    "BatchMatMulV2": _BATCH_MATMUL,
    "BiasAdd": ("T", "data_format"),
    # Normalization, pooling, resizing.
    "FusedBatchNorm": _BATCH_NORM,
    "FusedBatchNormV2": (*_BATCH_NORM, "U"),
    "FusedBatchNormV3": (*_BATCH_NORM, "U"),
    "LRN": ("T", "depth_radius", "bias", "alpha", "beta"),
    "AvgPool": _POOLING,
    "MaxPool": (*_POOLING, "explicit_paddings"),
    "ResizeArea": ("T", "align_corners"),
    "ResizeBicubic": _RESIZE,
    "ResizeBilinear": _RESIZE,
    "ResizeNearestNeighbor": _RESIZE,
    # Activations.
    **dict.fromkeys(
        ("Elu", "Erf", "Erfc", "LogSoftmax", "Relu", "Relu6", "Selu", "Sigmoid", "Softmax", "Softplus",
         "Softsign", "Tanh"), _T,
    ),
    "LeakyRelu": ("T", "alpha"),
    # Arithmetic by element.
    **dict.fromkeys(
        ("Abs", "Add", "AddV2", "Ceil", "ClipByValue", "Cos", "Div", "DivNoNan", "Exp", "Floor", "FloorDiv",
         "FloorMod", "Log", "Log1p", "Maximum", "Minimum", "Mul", "Neg", "Pow", "RealDiv", "Reciprocal",
         "Rint", "Round", "Rsqrt", "Sign", "Sin", "Sqrt", "Square", "SquaredDifference", "Sub"), _T,
    ),
    "AddN": ("N", "T"),
    "Cast": ("SrcT", "DstT", "Truncate"),
    # Comparisons and choices.
    **dict.fromkeys(("Greater", "GreaterEqual", "Less", "LessEqual", "Select", "SelectV2"), _T),
    **dict.fromkeys(("LogicalAnd", "LogicalNot", "LogicalOr"), ()),
    "Equal": _COMPARISON,
    "NotEqual": _COMPARISON,
    # Reductions.
    **dict.fromkeys(("Max", "Mean", "Min", "Prod", "Sum"), _REDUCTION),
    "All": ("keep_dims", "Tidx"),
    "Any": ("keep_dims", "Tidx"),
    "ArgMax": ("T", "Tidx", "output_type"),
    "L2Loss": _T,
    # Shapes, and what moves or repeats elements.
    "Shape": ("T", "out_type"),
    "Size": ("T", "out_type"),
    "Rank": _T,
    "EnsureShape": ("T", "shape"),
    "Reshape": ("T", "Tshape"),
    "Squeeze": ("T", "squeeze_dims"),
    "ExpandDims": ("T", "Tdim"),
    "Pack": ("N", "T", "axis"),
    "Unpack": ("num", "T", "axis"),
    "Concat": ("N", "T"),
    "ConcatV2": ("N", "T", "Tidx"),
    "Split": ("num_split", "T"),
    "SplitV": ("num_split", "T", "Tlen"),
    "Slice": ("T", "Index"),
    "StridedSlice": (
        "T", "Index", "begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask",
    ),
    "Transpose": ("T", "Tperm"),
    "Gather": ("validate_indices", "Tparams", "Tindices"),
    "GatherV2": ("batch_dims", "Tparams", "Tindices", "Taxis"),
    "ReverseV2": ("T", "Tidx"),
    "Roll": ("T", "Tshift", "Taxis"),
    "Pad": ("T", "Tpaddings"),
    "PadV2": ("T", "Tpaddings"),
    "MirrorPad": ("T", "Tpaddings", "mode"),
    "Tile": ("T", "Tmultiples"),
    "BroadcastTo": ("T", "Tidx"),
    "Fill": ("T", "index_type"),
    "Range": ("Tidx",),
    "OnesLike": _T,
    "ZerosLike": _T,
}  # fmt: skip
"""The operators that a graph may hold, each with the attributes that it may have."""

WORDS: dict[str, frozenset[bytes]] = {
    "data_format": frozenset({b"NHWC", b"NCHW"}),
    "mode": frozenset({b"REFLECT", b"SYMMETRIC"}),
    "padding": frozenset({b"SAME", b"VALID", b"EXPLICIT"}),
}
"""The attributes that are text, with the words that they may be."""

_TYPES = (
    "DstT Index SrcT T Taxis Tblock_shape Tcrops Tdim Tidx Tindices Tlen Tmultiples Tpaddings Tparams Tperm "
    "Tshape Tshift U dtype index_type out_type output_type"
)
_INTEGERS = (
    "N axis batch_dims begin_mask block_size depth_radius ellipsis_mask end_mask new_axis_mask num num_split "
    "shrink_axis_mask"
)
_FLAGS = (
    "Truncate adj_x adj_y align_corners grad_a grad_b grad_x grad_y half_pixel_centers "
    "incompatible_shape_error is_training keep_dims transpose_a transpose_b use_cudnn_on_gpu validate_indices"
)
_FLOATS = "alpha beta bias epsilon exponential_avg_factor"
_LISTS = "dilations explicit_paddings ksize ksizes rates squeeze_dims strides"

KINDS: dict[str, str] = {
    **dict.fromkeys(_TYPES.split(), "type"),
    **dict.fromkeys(_INTEGERS.split(), "i"),
    **dict.fromkeys(_FLAGS.split(), "b"),
    **dict.fromkeys(_FLOATS.split(), "f"),
    **dict.fromkeys(_LISTS.split(), "list"),
    **dict.fromkeys(WORDS, "s"),
    "shape": "shape",
    "value": "tensor",
}
"""The attributes by kind, under the name that an `AttrValue` gives it."""
