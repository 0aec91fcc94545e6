"""A method fitted on all patients, and its predictions on a slide that has no transcriptomics."""
