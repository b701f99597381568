"""Records -> verdicts, certificate, charts. Reads record files and nothing else."""
