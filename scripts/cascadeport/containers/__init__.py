"""Containers: images, the Docker Engine that runs them, and what travels to it and back."""
