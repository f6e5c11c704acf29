"""The kinds of things that are registered by name, and the built-in names."""

from __future__ import annotations

__all__ = ["BUILT_IN", "KINDS", "SINGULAR"]

BUILT_IN: dict[str, dict[str, str]] = {
    "models": {
        "vae": "genzoo.models.vae:VAE",
        "wae-mmd": "genzoo.models.wae:WAEMMD",
        "wae-gan": "genzoo.models.wae:WAEGAN",
        "gan": "genzoo.models.gan:GAN",
        "dcgan": "genzoo.models.gan:DCGAN",
        "lsgan": "genzoo.models.gan:LSGAN",
        "wgan": "genzoo.models.wgan:WGAN",
        "wgan-gp": "genzoo.models.wgan_gp:WGANGP",
        "nade": "genzoo.models.nade:NADE",
        "rnade": "genzoo.models.nade:RNADE",
        "eonade": "genzoo.models.eonade:EoNADE",
        "pixel-rnn": "genzoo.models.pixel_rnn:PixelRNN",
        "independent": "genzoo.models.pixels:Independent",
        "markov": "genzoo.models.pixels:Markov",
    },
    "priors": {
        "normal": "genzoo.priors.simple:Normal",
        "uniform": "genzoo.priors.simple:Uniform",
        "sphere": "genzoo.priors.simple:Sphere",
        "mog": "genzoo.priors.mixture:MixtureOfGaussians",
    },
    "divergences": {
        "kl": "genzoo.divergences.kl:KL",
        "mmd": "genzoo.divergences.mmd:MMD",
        "sinkhorn": "genzoo.divergences.sinkhorn:Sinkhorn",
        "wasserstein": "genzoo.divergences.transport:Wasserstein",
        "gradient-penalty": "genzoo.divergences.penalties:GradientPenalty",
        "dragan": "genzoo.divergences.penalties:DRAGAN",
        "r1": "genzoo.divergences.penalties:R1",
    },
    "encoders": {
        "mlp": "genzoo.blocks.mlp:MLPEncoder",
        "conv": "genzoo.blocks.conv:ConvEncoder",
    },
    "decoders": {
        "mlp": "genzoo.blocks.mlp:MLPDecoder",
        "conv": "genzoo.blocks.conv:ConvDecoder",
    },
    "critics": {
        "mlp": "genzoo.blocks.mlp:MLPCritic",
        "conv": "genzoo.blocks.conv:ConvCritic",
    },
    "translators": {},  # no built-in ones; plugins register them
    "datasets": {
        "digits": "genzoo.data.sklearn_digits:digits",
        "fashion-mnist": "genzoo.data.mnist_family:fashion_mnist",
        "mnist": "genzoo.data.mnist_family:mnist",
        "kmnist": "genzoo.data.mnist_family:kmnist",
        "emnist": "genzoo.data.mnist_family:emnist",
        "cifar10": "genzoo.data.cifar:cifar10",
        "cifar100": "genzoo.data.cifar:cifar100",
        "svhn": "genzoo.data.house_numbers:svhn",
        "celeba": "genzoo.data.celeba_folder:celeba",
        "folder": "genzoo.data.image_folder:folder",
        "shards": "genzoo.data.tar_shards:shards",
        "npy": "genzoo.data.array_files:npy",
        "arrow": "genzoo.data.arrow_dataset:arrow",
        "toy": "genzoo.data.toy_points:toy",
    },
    "metrics": {
        "likelihood": "genzoo.metrics.likelihood:Likelihood",
        "ais": "genzoo.metrics.annealing:AIS",
        "reconstruction": "genzoo.metrics.reconstruction:Reconstruction",
        "texture": "genzoo.metrics.texture:Texture",
        "sharpness": "genzoo.metrics.sharpness:Sharpness",
        "codes": "genzoo.metrics.codes:Codes",
        "elbo-surgery": "genzoo.metrics.elbo_surgery:ElboSurgery",
        "mixture-usage": "genzoo.metrics.mixture_usage:MixtureUsage",
        "frechet": "genzoo.metrics.frechet:Frechet",
        "kernel-distance": "genzoo.metrics.kernel:KernelDistance",
        "sliced-wasserstein": "genzoo.metrics.sliced:SlicedWasserstein",
        "precision-recall": "genzoo.metrics.neighbors:PrecisionRecall",
        "two-sample": "genzoo.metrics.two_sample:TwoSample",
        "memorization": "genzoo.metrics.memorization:Memorization",
        "class-consistency": "genzoo.metrics.class_consistency:ClassConsistency",
        "modes": "genzoo.metrics.modes:Modes",
    },
    "networks": {
        "pixels": "genzoo.metrics.networks.fixed:Pixels",
        "random-conv": "genzoo.metrics.networks.fixed:RandomConv",
        "digits-cnn": "genzoo.metrics.networks.classifiers:DigitsCNN",
        "fmnist-cnn": "genzoo.metrics.networks.classifiers:FashionCNN",
        "self-trained": "genzoo.metrics.networks.self_trained:SelfTrained",
        "inception": "genzoo.metrics.networks.inception:Inception",
        "dinov2": "genzoo.metrics.networks.dinov2:DINOv2",
    },
    "loggers": {
        "jsonl": "genzoo.train.loggers.jsonl:JSONL",
        "tensorboard": "genzoo.train.loggers.tensorboard:TensorBoard",
        "wandb": "genzoo.train.loggers.trackers:WandB",
        "trackio": "genzoo.train.loggers.trackers:Trackio",
        "mlflow": "genzoo.train.loggers.trackers:MLflow",
    },
    "weights": {
        "vae.digits": "genzoo.weights.digits:vae",
        "wae-mmd.digits": "genzoo.weights.digits:wae_mmd",
        "wae-gan.digits": "genzoo.weights.digits:wae_gan",
        "gan.digits": "genzoo.weights.digits:gan",
        "dcgan.digits": "genzoo.weights.digits:dcgan",
        "lsgan.digits": "genzoo.weights.digits:lsgan",
        "wgan.digits": "genzoo.weights.digits:wgan",
        "wgan-gp.digits": "genzoo.weights.digits:wgan_gp",
        "nade.digits": "genzoo.weights.digits:nade",
        "pixel-rnn.digits": "genzoo.weights.digits:pixel_rnn",
        "cvae.digits": "genzoo.weights.digits:cvae",
        "cgan.digits": "genzoo.weights.digits:cgan",
        "nade-classes.digits": "genzoo.weights.digits:nade_classes",
        "pixel-rnn-classes.digits": "genzoo.weights.digits:pixel_rnn_classes",
        "wae-gan-classes.digits": "genzoo.weights.digits:wae_gan_classes",
    },
}

KINDS = tuple(BUILT_IN)
SINGULAR = {kind: kind if kind == "weights" else kind.removesuffix("s") for kind in KINDS}
"""Kind -> the word for one thing of it."""
