"""Images to images for genzoo: Pix2Pix, CycleGAN and DiscoGAN, their networks, data sets and a metric."""
