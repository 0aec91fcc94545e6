"""XFuse (Bergenstråhle et al. 2022): one latent state behind the image and the counts."""
