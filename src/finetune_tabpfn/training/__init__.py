"""The training loop, what stands around it, and its state on disk. It knows torch alone."""
