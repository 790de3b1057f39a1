"""What does a network look at: maps of what an answer rests on, for any network.

>>> from torch import nn
>>> from convscope import explain
>>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 900, 2))
>>> import torch
>>> found = explain.occlusion(net, torch.zeros(3, 32, 32), target=1, window=8, stride=4)
>>> found.map.shape
(32, 32)
"""

from convscope.explain.agreeing import Agreement, agreement
from convscope.explain.cam import gradcam
from convscope.explain.exciting import Hit, Neurons, neurons
from convscope.explain.faithfulness import Curve, deletion, insertion
from convscope.explain.gradients import integrated_gradients, saliency, smoothgrad
from convscope.explain.localisation import Localisation, locate
from convscope.explain.occluding import occlusion
from convscope.explain.perturbing import lime
from convscope.explain.result import Explanation
from convscope.explain.sanity import Randomisation, randomisation
from convscope.explain.segments import superpixels

__all__ = [
    "Agreement",
    "Curve",
    "Explanation",
    "Hit",
    "Localisation",
    "Neurons",
    "Randomisation",
    "agreement",
    "deletion",
    "gradcam",
    "insertion",
    "integrated_gradients",
    "lime",
    "locate",
    "neurons",
    "occlusion",
    "randomisation",
    "saliency",
    "smoothgrad",
    "superpixels",
]
