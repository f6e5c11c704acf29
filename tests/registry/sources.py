"""The source code of a model for plugin packages and plugin files."""

MODEL = """
import torch
from torch import nn
import genzoo


class Mine(genzoo.Model):
    def __init__(self, size: int = 1, shape: tuple[int, ...] = (1, 8, 8)):
        super().__init__()
        self.shape = shape
        self.mean = nn.Parameter(torch.zeros(shape))

    def loss(self, batch):
        return {"loss": (batch - self.mean).square().mean()}

    @torch.no_grad()
    def sample(self, n, given=None):
        return self.mean.clamp(0, 1).expand(n, *self.shape).clone()
"""
REGISTERED = MODEL.replace("class Mine", '@genzoo.models.register("mine")\nclass Mine')
