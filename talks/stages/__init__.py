"""The stages that make the corpus and the base model: named in YAML by their dotted path."""
