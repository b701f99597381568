"""What migqual costs, measured against the bare tools in one run: `migqual bench ...`."""
