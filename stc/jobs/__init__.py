"""Jobs and sweeps: one job, its status file, the jobs of one command, and SLURM."""
