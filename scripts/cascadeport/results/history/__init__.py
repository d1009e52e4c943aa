"""History: results kept by run, what changed since one of them, and both for a build server."""
