"""The init script of a guest sets up the network interfaces from the kernel command line."""

import pytest

from migqual.image.guest_image import build_kernel_command_line
from migqual.image.payload import PAYLOAD_SOURCES
from suites.selftest.support.network_namespace import GUEST_MAC, LinkedNamespaces

pytestmark = pytest.mark.selftest


def extract_network_script() -> str:
    """Extract the part of the init script that sets up the network interfaces."""
    script = (PAYLOAD_SOURCES / "init").read_text()
    return script[script.index("configure() {") : script.index("unset IFS")]


@pytest.mark.parametrize(
    ("address", "gateway"),
    [("10.77.9.5/24", "10.77.9.1"), ("fd77::5/64", "fd77::1")],
    ids=["ipv4", "ipv6"],
)
def test_booted_guest_has_address_and_gateway(
    namespaces: LinkedNamespaces, address: str, gateway: str
) -> None:
    """
    A booted guest can use the IP address from the kernel command line at once.

    Preconditions: the guest's interface has the MAC address from the kernel command line, and no
    IP address.
    Expected: the interface gets the IP address without duplicate address detection. The default
    route has the gateway from the kernel command line.
    """
    words = build_kernel_command_line([(GUEST_MAC, address)], gateway=gateway).split()
    (nets,) = (word.partition("=")[2] for word in words if word.startswith("migqual.net="))

    namespaces.guest.run("sh", "-ec", f"nets='{nets}'\n{extract_network_script()}")

    addresses = namespaces.guest.run("ip", "-o", "address", "show", "dev", "guest")
    assert f" {address} " in addresses
    if ":" in address:
        # The kernel clears the mark `tentative` some time after the end of the script.
        accept_dad = namespaces.guest.run("cat", "/proc/sys/net/ipv6/conf/guest/accept_dad")
        assert accept_dad.strip() == "0"
    routes = [
        namespaces.guest.run("ip", family, "route", "show", "default") for family in ("-4", "-6")
    ]
    assert "".join(routes).startswith(f"default via {gateway} dev guest")
