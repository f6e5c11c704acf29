"""Image translation for genzoo: Pix2Pix, CycleGAN, and DiscoGAN, their networks, and datasets."""

__all__: list[str] = []
