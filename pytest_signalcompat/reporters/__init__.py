"""Functions from results to text; each has a test with its exact output."""
