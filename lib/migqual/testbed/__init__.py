"""Connect to hosts, create guests, migrate the guests, and check guests and hosts."""
