"""HisToGene (Pang, Su, Li 2021): a transformer over the spots of a section."""
