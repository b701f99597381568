"""Load the inventory file, which lists hosts, host pairs, places for disk images, and networks."""
