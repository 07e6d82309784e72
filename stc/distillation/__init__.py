"""Knowledge distillation beyond the teacher's texts: token distributions, cached logits, filters."""
