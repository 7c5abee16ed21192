"""Models, losses, data sets and training for Pilotage's encoders. Needs torch and timm."""
