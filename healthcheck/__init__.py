"""What is true of the sidecar's health, who tells it, and who asks."""
