"""The convolutions of the FID network by name, with their shapes; `inception` applies them."""

from typing import NamedTuple


class Convolution(NamedTuple):
    """The shape of a convolution without bias, which batch normalization and ReLU follow.

    Attributes:
        inputs: number of input channels.
        outputs: number of output channels.
        height: height of the kernel.
        width: width of the kernel.
        stride: the same along both axes.
        padded: whether zeros are added on both sides, so that stride 1 keeps the size.
    """

    inputs: int
    outputs: int
    height: int = 1
    width: int = 1
    stride: int = 1
    padded: bool = True


def _stem() -> dict[str, Convolution]:
    return {
        "Conv2d_1a_3x3": Convolution(3, 32, 3, 3, stride=2, padded=False),
        "Conv2d_2a_3x3": Convolution(32, 32, 3, 3, padded=False),
        "Conv2d_2b_3x3": Convolution(32, 64, 3, 3),
        "Conv2d_3b_1x1": Convolution(64, 80),
        "Conv2d_4a_3x3": Convolution(80, 192, 3, 3, padded=False),
    }


def _layers_35(inputs: int, pooled: int) -> dict[str, Convolution]:
    return {
        "branch1x1": Convolution(inputs, 64),
        "branch5x5_1": Convolution(inputs, 48),
        "branch5x5_2": Convolution(48, 64, 5, 5),
        "branch3x3dbl_1": Convolution(inputs, 64),
        "branch3x3dbl_2": Convolution(64, 96, 3, 3),
        "branch3x3dbl_3": Convolution(96, 96, 3, 3),
        "branch_pool": Convolution(inputs, pooled),
    }


def _layers_35_to_17(inputs: int) -> dict[str, Convolution]:
    return {
        "branch3x3": Convolution(inputs, 384, 3, 3, stride=2, padded=False),
        "branch3x3dbl_1": Convolution(inputs, 64),
        "branch3x3dbl_2": Convolution(64, 96, 3, 3),
        "branch3x3dbl_3": Convolution(96, 96, 3, 3, stride=2, padded=False),
    }


def _layers_17(inputs: int, inner: int) -> dict[str, Convolution]:
    return {
        "branch1x1": Convolution(inputs, 192),
        "branch7x7_1": Convolution(inputs, inner),
        "branch7x7_2": Convolution(inner, inner, 1, 7),
        "branch7x7_3": Convolution(inner, 192, 7, 1),
        "branch7x7dbl_1": Convolution(inputs, inner),
        "branch7x7dbl_2": Convolution(inner, inner, 7, 1),
        "branch7x7dbl_3": Convolution(inner, inner, 1, 7),
        "branch7x7dbl_4": Convolution(inner, inner, 7, 1),
        "branch7x7dbl_5": Convolution(inner, 192, 1, 7),
        "branch_pool": Convolution(inputs, 192),
    }


def _layers_17_to_8(inputs: int) -> dict[str, Convolution]:
    return {
        "branch3x3_1": Convolution(inputs, 192),
        "branch3x3_2": Convolution(192, 320, 3, 3, stride=2, padded=False),
        "branch7x7x3_1": Convolution(inputs, 192),
        "branch7x7x3_2": Convolution(192, 192, 1, 7),
        "branch7x7x3_3": Convolution(192, 192, 7, 1),
        "branch7x7x3_4": Convolution(192, 192, 3, 3, stride=2, padded=False),
    }


def _layers_8(inputs: int) -> dict[str, Convolution]:
    return {
        "branch1x1": Convolution(inputs, 320),
        "branch3x3_1": Convolution(inputs, 384),
        "branch3x3_2a": Convolution(384, 384, 1, 3),
        "branch3x3_2b": Convolution(384, 384, 3, 1),
        "branch3x3dbl_1": Convolution(inputs, 448),
        "branch3x3dbl_2": Convolution(448, 384, 3, 3),
        "branch3x3dbl_3a": Convolution(384, 384, 1, 3),
        "branch3x3dbl_3b": Convolution(384, 384, 3, 1),
        "branch_pool": Convolution(inputs, 192),
    }


def _layers() -> dict[str, Convolution]:
    blocks = {
        "Mixed_5b": _layers_35(192, 32),
        "Mixed_5c": _layers_35(256, 64),
        "Mixed_5d": _layers_35(288, 64),
        "Mixed_6a": _layers_35_to_17(288),
        "Mixed_6b": _layers_17(768, 128),
        "Mixed_6c": _layers_17(768, 160),
        "Mixed_6d": _layers_17(768, 160),
        "Mixed_6e": _layers_17(768, 192),
        "Mixed_7a": _layers_17_to_8(768),
        "Mixed_7b": _layers_8(1280),
        "Mixed_7c": _layers_8(2048),
    }
    return _stem() | {
        f"{block}.{name}": layer
        for block, layers in blocks.items()
        for name, layer in layers.items()
    }


LAYERS: dict[str, Convolution] = _layers()
