"""Build the files from which guests and lab hosts boot, and the program `migqual-payload`.

The files are root file systems (rootfs), kernels, initramfs archives and disk images. All builds
run on the controller. The cache stores each file under a hash of the inputs of the build.
"""
