"""Connect hosts, make guests, and migrate the guests with all observers."""
