"""Published figures of accelerators, for planning.

Rates are peaks of dense arithmetic, without structured sparsity. Bytes and rates are decimal unless
the source says GiB. Bandwidths between devices are those of one direction, all links of a device
together.
"""

from typing import NamedTuple

from dgm_jax.core import Registry


class Kind(NamedTuple):
    """A kind of device.

    Attributes:
        name: in words.
        float32: operations a second in float32 outside of matrix units; None where the maker
            publishes none.
        product: operations a second of products of float32 matrices at JAX's default precision:
            TF32 on these GPUs, one pass of bfloat16 on TPUs.
        bfloat16: operations a second of bfloat16 products.
        memory: bytes.
        bandwidth: bytes a second between memory and processor.
        interconnect: bytes a second that a device sends to others of its domain.
        domain: devices that these links join: a server of GPUs, a pod of TPUs.
        outside: bytes a second that a device sends beyond its domain; None where it is not
            published for one device.
        source: of the figures.
    """

    name: str
    float32: float | None
    product: float
    bfloat16: float
    memory: float
    bandwidth: float
    interconnect: float
    domain: int
    outside: float | None
    source: str


GIB = 2.0**30

KINDS: Registry[Kind] = Registry(
    "kind of device",
    {
        "a100": Kind(
            "NVIDIA A100 SXM4 80 GB",
            19.5e12,
            156e12,
            312e12,
            80e9,
            2.039e12,
            300e9,
            8,
            25e9,
            "NVIDIA A100 Tensor Core GPU data sheet; DGX A100 data sheet (200 Gb/s a GPU)",
        ),
        "h100": Kind(
            "NVIDIA H100 SXM5 80 GB",
            67e12,
            494.7e12,
            989.4e12,
            80e9,
            3.35e12,
            450e9,
            8,
            50e9,
            "NVIDIA H100 Tensor Core GPU data sheet; DGX H100 data sheet (400 Gb/s a GPU)",
        ),
        "h200": Kind(
            "NVIDIA H200 SXM 141 GB",
            67e12,
            494.7e12,
            989.4e12,
            141e9,
            4.8e12,
            450e9,
            8,
            50e9,
            "NVIDIA H200 Tensor Core GPU data sheet; DGX H200 data sheet (400 Gb/s a GPU)",
        ),
        "b200": Kind(
            "NVIDIA B200 SXM (HGX, 1,000 W)",
            80e12,
            1.1e15,
            2.25e15,
            180e9,
            8e12,
            900e9,
            8,
            50e9,
            "NVIDIA Blackwell architecture technical brief; DGX B200 data sheet (1,440 GB for eight"
            " GPUs, 400 Gb/s a GPU)",
        ),
        "v4": Kind(
            "Google Cloud TPU v4",
            None,
            275e12,
            275e12,
            32 * GIB,
            1.2e12,
            300e9,
            4096,
            None,
            "Google Cloud TPU v4 page; Jouppi et al. 2023 (six links of 50 GB/s)",
        ),
        "v5e": Kind(
            "Google Cloud TPU v5e",
            None,
            197e12,
            197e12,
            16e9,
            819e9,
            200e9,
            256,
            6.4e12 / 8 / 256,
            "Google Cloud TPU v5e page (400 GB/s in both directions, 6.4 Tb/s beyond a pod)",
        ),
        "v5p": Kind(
            "Google Cloud TPU v5p",
            None,
            459e12,
            459e12,
            95e9,
            2.765e12,
            600e9,
            8960,
            None,
            "Google Cloud TPU v5p page (4,800 Gb/s)",
        ),
        "v6e": Kind(
            "Google Cloud TPU v6e",
            None,
            918e12,
            918e12,
            32e9,
            1.638e12,
            400e9,
            256,
            None,
            "Google Cloud TPU v6e page (800 GB/s in both directions)",
        ),
    },
)
