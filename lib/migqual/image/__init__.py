"""Build the boot files of guests and lab hosts: rootfs, payload, initramfs and cloud images.

All builds run on the controller. The cache stores each file under a hash of the inputs.
"""
