"""The harness: plan, run, score, store, sweep and the command line."""
