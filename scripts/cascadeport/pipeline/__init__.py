"""From the options to a plan, and from the plan to finished stages."""
