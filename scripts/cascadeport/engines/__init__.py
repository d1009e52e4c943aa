"""Where a target's commands run: on this machine, or in containers (cascadeport.containers)."""
