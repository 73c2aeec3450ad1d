"""The generative baseline: the backbone, prompted for entities instead of trained to tag them."""
