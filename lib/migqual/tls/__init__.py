"""Issue, install, check and restore certificates for encrypted migrations."""
