"""What the benchmarks of speed have in common: the models and their audio, the plain procedure, the watch."""
