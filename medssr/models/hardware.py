"""The speed of a device: published numbers of known GPUs, and the file with what `medssr-doctor --measure` measured."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path

from medssr.config.groups import GPU
from medssr.utils.files import read_record, write_json_atomically

# Name of the file in paths.artifact_dir.
FILE_NAME = "hardware.json"
_REMEDY = "Measure again: medssr-doctor --measure."
# Fractions of the published numbers that large matrix products and copies reach. Published products assume a clock that
# a GPU does not hold under load, published bandwidths count no refresh and no latency.
_PRODUCT_SHARE = 0.7
_BANDWIDTH_SHARE = 0.83


@dataclass(frozen=True, slots=True)
class Hardware:
    """The speed that one device reaches: a GPU, or a CPU with a number of threads.

    Attributes:
        name: The name of the device.
        is_gpu: Whether it is a GPU.
        num_threads: Number of torch threads of a CPU; 0 for a GPU.
        float32_flops: FLOP/s of a large matrix product in float32.
        bfloat16_flops: FLOP/s of a large matrix product in bfloat16 (and float16).
        bytes_per_second: Bytes that are read or written per second by a copy that exceeds all caches.
        source: Where the numbers come from.
    """

    name: str
    is_gpu: bool
    num_threads: int
    float32_flops: float
    bfloat16_flops: float
    bytes_per_second: float
    source: str

    def product_flops(self, num_bytes: int) -> float:
        """Returns the FLOP/s of a large matrix product of numbers of 4 or 2 bytes."""
        return self.float32_flops if num_bytes == 4 else self.bfloat16_flops


# Dense products with float32 accumulation, in TFLOP/s: float32 without tensor cores (torch's default), bfloat16 with
# them; bandwidth in GB/s; and the manufacturer's page. Data sheets that print products with sparsity print twice these.
_PUBLISHED = {
    GPU.H200: (67.0, 989.0, 4800.0, "NVIDIA H200 Tensor Core GPU data sheet, SXM"),
    GPU.H100: (67.0, 989.0, 3350.0, "NVIDIA H100 Tensor Core GPU data sheet, SXM"),
    GPU.A100: (19.5, 312.0, 2039.0, "NVIDIA A100 Tensor Core GPU data sheet, SXM of 80 GB"),
    GPU.L40S: (91.6, 362.0, 864.0, "NVIDIA L40S data sheet"),
    GPU.L4: (30.3, 121.0, 300.0, "NVIDIA L4 Tensor Core GPU data sheet"),
    GPU.A10: (31.2, 125.0, 600.0, "NVIDIA A10 Tensor Core GPU data sheet"),
}


def known_gpu(name: str) -> GPU | None:
    """Returns the GPU of a name as torch has it; None if its speed was not published here.

    Example:
        >>> known_gpu("NVIDIA A100-SXM4-80GB").value
        'A100'
    """
    words = re.split(r"[\s-]", name)
    return next((gpu for gpu in GPU if gpu.value in words), None)


def peak_flops(hardware: Hardware, num_bytes: int) -> float:
    """Returns the FLOP/s that utilisation is a fraction of, for numbers of 4 or 2 bytes.

    Those that were published of a known GPU, else those of a large product, as it was measured.
    """
    gpu = known_gpu(hardware.name)
    if gpu is None:
        return hardware.product_flops(num_bytes)
    float32, bfloat16, *_ = _PUBLISHED[gpu]
    return (float32 if num_bytes == 4 else bfloat16) * 1e12


def published(gpu: GPU) -> Hardware:
    """Returns the speed that a known GPU is expected to reach, from its published numbers.

    Example:
        >>> h200 = published(GPU.H200)
        >>> round(h200.bfloat16_flops / 1e12), round(h200.bytes_per_second / 1e9)  # 0.7 x 989, 0.83 x 4,800
        (692, 3984)
    """
    float32, bfloat16, bandwidth, sheet = _PUBLISHED[gpu]
    return Hardware(
        name=gpu.value,
        is_gpu=True,
        num_threads=0,
        float32_flops=_PRODUCT_SHARE * float32 * 1e12,
        bfloat16_flops=_PRODUCT_SHARE * bfloat16 * 1e12,
        bytes_per_second=_BANDWIDTH_SHARE * bandwidth * 1e9,
        source=f"{_PRODUCT_SHARE:.0%} and {_BANDWIDTH_SHARE:.0%} of {sheet}",
    )


def write_hardware(hardware: Hardware, artifact_dir: Path) -> Path:
    """Writes what was measured on this machine, and returns the file."""
    file = artifact_dir / FILE_NAME
    write_json_atomically(file, asdict(hardware))
    return file


def measured_hardware(artifact_dir: Path) -> Hardware | None:
    """Returns what was measured on this machine; None if nothing was.

    Raises:
        InputError: When the file is damaged.
    """
    file = artifact_dir / FILE_NAME
    if not file.is_file():
        return None
    fields = {
        "name": str,
        "is_gpu": bool,
        "num_threads": int,
        "float32_flops": float,
        "bfloat16_flops": float,
        "bytes_per_second": float,
        "source": str,
    }
    record = read_record(file, _REMEDY, **fields)
    return Hardware(**{name: record[name] for name in fields})
