"""The inventory file: hosts, pairs, stores and networks of a qualification."""
