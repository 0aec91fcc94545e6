"""ST-Net (He et al. 2020): a DenseNet-121 regressor."""
