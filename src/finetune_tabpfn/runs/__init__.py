"""A run from one configuration file to one folder."""
