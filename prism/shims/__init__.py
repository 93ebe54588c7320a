"""Stand-ins for packages that a real part imports but never uses here; put on PYTHONPATH of a subprocess."""
