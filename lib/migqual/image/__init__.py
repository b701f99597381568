"""Build the boot files of guests and lab hosts: rootfs, payload, initramfs and cloud images.

The controller builds every file. The cache keeps the file under a key of all inputs.
"""
