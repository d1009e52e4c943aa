"""What an operator gets beside the image: scripts, compose file, unit and guide, as templates."""
