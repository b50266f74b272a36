"""What records a fit."""
