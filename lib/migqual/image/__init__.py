"""What guests and lab hosts boot from: root trees, the payload, initramfs and cloud images.

Everything here is made on the controller, cached, and keyed by all that went into it.
"""
