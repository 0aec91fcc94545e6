"""What a stored prediction is good for: spatial structure, domains, gene sets, profiles; beside the scores, never among them."""
