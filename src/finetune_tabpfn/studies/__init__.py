"""Around a fit: tables made ready, models evaluated, and whether fine-tuning pays previewed."""
