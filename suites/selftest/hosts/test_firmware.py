"""The selection of a UEFI firmware from QEMU's firmware descriptors."""

from typing import Any

import pytest

from migqual.architecture import Architecture
from migqual.hosts.firmware import FirmwareFiles, select_firmware

PLAIN = FirmwareFiles("/fw/code.fd", "/fw/vars.fd")


def build_descriptor(
    *,
    code: str = PLAIN.code,
    machine: str = "pc-q35-*",
    architecture: str = "x86_64",
    features: tuple[str, ...] = ("acpi-s3", "verbose-dynamic"),
    image_format: str = "raw",
    **mapping: str,
) -> dict[str, Any]:
    return {
        "interface-types": ["uefi"],
        "mapping": {
            "device": "flash",
            "executable": {"filename": code, "format": image_format},
            "nvram-template": {"filename": PLAIN.variables, "format": image_format},
            **mapping,
        },
        "targets": [{"architecture": architecture, "machines": [machine]}],
        "features": list(features),
    }


@pytest.mark.parametrize(
    "unusable",
    [
        pytest.param(
            {
                "interface-types": ["uefi"],
                "mapping": {"device": "memory", "filename": "/fw/sev.fd"},
                "targets": [{"architecture": "x86_64", "machines": ["pc-q35-*"]}],
                "features": ["amd-sev", "amd-sev-es", "amd-sev-snp"],
            },
            id="in memory, for encrypted guests",
        ),
        pytest.param(build_descriptor(code="/fw/x", features=("amd-sev",)), id="encrypted guest"),
        pytest.param(build_descriptor(code="/fw/x", features=("requires-smm",)), id="needs SMM"),
        pytest.param(build_descriptor(code="/fw/x", mode="stateless"), id="without variables"),
        pytest.param(build_descriptor(code="/fw/x", image_format="qcow2"), id="qcow2"),
        pytest.param(build_descriptor(code="/fw/x", machine="microvm"), id="another machine"),
        pytest.param(build_descriptor(code="/fw/x", architecture="aarch64"), id="another CPU"),
        pytest.param({}, id="empty"),
    ],
)
def test_unusable_firmware_is_passed_over(unusable: dict[str, Any]) -> None:
    """A firmware that a plain guest cannot boot is not selected, even as the first in the list."""
    descriptors = [unusable, build_descriptor()]

    assert select_firmware(descriptors, Architecture.X86_64, "q35") == PLAIN
    assert select_firmware([unusable], Architecture.X86_64, "q35") is None


@pytest.mark.parametrize("machine", ["q35", "pc-q35-7.2"])
def test_machine_type_and_alias_select_the_same_firmware(machine: str) -> None:
    """An alias such as q35 selects the firmware of the versioned machine types."""
    assert select_firmware([build_descriptor()], Architecture.X86_64, machine) == PLAIN
