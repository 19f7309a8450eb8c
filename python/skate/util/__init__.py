"""What Ray keeps in `ray.util`; each module is imported by name."""
