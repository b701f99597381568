"""What is watched around every migration: job, gaps, integrity, copies, residue."""
