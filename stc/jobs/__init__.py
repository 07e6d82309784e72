"""Jobs and sweeps: one job and its status file, the jobs of one command, and SLURM."""
