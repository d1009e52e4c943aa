"""What a run is made of: plan, stage, task, context, and the protocol of a backend."""
