"""From a table and a base model to the weights that are deployed."""
