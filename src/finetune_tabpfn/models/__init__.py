"""Base models and fitted models as files."""
