"""The output of qemu-img becomes the properties of an image."""

import pytest

from migqual.probes import disk_images
from migqual.units import MIB

pytestmark = pytest.mark.selftest

QEMU_IMG_INFO = {
    "format": "qcow2",
    "virtual-size": 64 * MIB,
    "actual-size": MIB,
    "cluster-size": 4096,
    "full-backing-filename": "/images/base",
    "backing-filename-format": "raw",
    "format-specific": {"data": {"compat": "0.10", "lazy-refcounts": True}},
}


def test_qemu_img_info_is_parsed() -> None:
    image_info = disk_images.parse_image_info(QEMU_IMG_INFO, file_size=MIB)

    assert image_info.create_options == {
        "cluster_size": "4096",
        "compat": "0.10",
        "lazy_refcounts": "on",
    }
    assert (image_info.backing_file, image_info.backing_format) == ("/images/base", "raw")
    assert not image_info.encrypted
    assert disk_images.parse_image_info(
        {**QEMU_IMG_INFO, "encrypted": True}, file_size=MIB
    ).encrypted


@pytest.mark.parametrize(
    ("image_format", "allocated_bytes", "file_bytes", "expected"),
    [
        ("raw", MIB, 64 * MIB, None),
        ("raw", 64 * MIB, 64 * MIB, "falloc"),
        ("qcow2", MIB, MIB, None),
        ("qcow2", MIB, 65 * MIB, "metadata"),
        ("qcow2", 65 * MIB, 65 * MIB, "falloc"),
    ],
)
def test_preallocation_is_derived_from_sizes(
    image_format: str, allocated_bytes: int, file_bytes: int, expected: str | None
) -> None:
    qemu_img_info = {
        "format": image_format,
        "virtual-size": 64 * MIB,
        "actual-size": allocated_bytes,
    }

    assert (
        disk_images.parse_image_info(qemu_img_info, file_bytes).create_options.get("preallocation")
        == expected
    )
