"""The build of a root file system uses the machine's apt settings for package mirrors."""

from migqual.image.rootfs import select_mirror_settings

DUMP = """\
APT "";
Acquire "";
Acquire::Languages "none";
Acquire::http::Proxy "http://proxy.example:3128";
Acquire::https "";
Acquire::Check-Valid-Until "false";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
acquire::retries "3";
DPkg::Pre-Install-Pkgs:: "/usr/sbin/dpkg-preconfigure --apt || true";
"""


def test_only_settings_for_mirrors_are_taken() -> None:
    """From the output of `apt-config dump`, only settings for package mirrors are selected.

    Examples are the settings for proxy, validity and retries. Other settings of apt, for example
    hooks, are left out, and so are lines with an empty value.
    """
    assert select_mirror_settings(DUMP) == [
        'Acquire::http::Proxy "http://proxy.example:3128"',
        'Acquire::Check-Valid-Until "false"',
        'acquire::retries "3"',
    ]
