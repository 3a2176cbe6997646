"""Networks: backbones, the head, augmentation layers, saving and loading, SavedModels as a layer."""
