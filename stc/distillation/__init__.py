"""What a student learns from a teacher beside its texts: distributions, cached logits, filters."""
