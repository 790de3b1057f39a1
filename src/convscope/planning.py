"""What a fit will do, decided from its options before a photo is opened."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from convscope.data.augment import POLICIES, Augmentation
from convscope.errors import ConvscopeError, InputError, unknown_name
from convscope.nets.catalog import NETS, NetSpec, photo_net_spec
from convscope.nets.weights import find_weights
from convscope.options import FitOptions
from convscope.progress import Progress

_DEFAULT_NETS = {
    "fcnn": "fcnn",
    "cnn": "small_cnn",
    "features": "mobilenet_v2",
    "finetune": "mobilenet_v2",
}


@dataclass(frozen=True)
class Plan:
    """What will be done, decided before a photo is opened.

    Attributes
    ----------
    strategy : str
        ``auto`` where the photos themselves will decide between features and fine-tuning.
    reason : str
        Why this one, a sentence.
    spec : NetSpec
    weights_file : Path or None
    policy : Augmentation or None
    """

    strategy: Literal["fcnn", "cnn", "features", "finetune", "auto"]
    reason: str
    spec: NetSpec
    weights_file: Path | None
    policy: Augmentation | None


def make_plan(options: FitOptions, progress: Progress) -> Plan:
    """Decide strategy, network, weights and augmentation.

    Raises
    ------
    InputError
        If the options do not go together.
    ConvscopeError
        If weights that were asked for cannot be had.
    """
    if options.augment is not None and options.augment not in POLICIES:
        raise unknown_name("augmentation", options.augment, POLICIES)
    if options.strategy == "auto":
        return _plan_auto(options, progress)
    strategy = options.strategy
    spec = photo_net_spec(options.net or _DEFAULT_NETS[strategy])
    reason = f"{strategy} was asked for"
    if strategy != "fcnn" and strategy != "cnn":
        file = _weights_for_transfer(options, spec, progress)
        policy = None if strategy == "features" else POLICIES[options.augment or "standard"]
        return Plan(strategy, reason, spec, file, policy)
    _refuse_transfer_options(options, f"--strategy {strategy} trains from scratch")
    return _plan_from_scratch(strategy, reason, spec, options)


def _plan_auto(options: FitOptions, progress: Progress) -> Plan:
    spec = photo_net_spec(options.net or _DEFAULT_NETS["features"])
    if spec.published is None:
        strategy: Literal["fcnn", "cnn"] = "cnn" if spec.kind == "convolutional" else "fcnn"
        return _plan_from_scratch(strategy, f"{spec.name} is trained from scratch", spec, options)
    try:
        file = find_weights(options.weights, spec, progress=progress)
        lacking = f"--weights {options.weights}"
    except InputError:
        raise
    except ConvscopeError as error:
        progress.say(str(error))
        file, lacking = None, f"the published weights of {spec.name} could not be fetched"
    if file is not None:
        reason = f"weights of {spec.name} are at hand, so its knowledge is transferred"
        return Plan("auto", reason, spec, file, POLICIES[options.augment or "standard"])
    _refuse_transfer_options(options, f"no pre-trained weights are at hand ({lacking})")
    if options.net is None:
        spec = photo_net_spec(_DEFAULT_NETS["cnn"])
    return _plan_from_scratch("cnn", f"no pre-trained weights ({lacking})", spec, options)


def _refuse_transfer_options(options: FitOptions, why: str) -> None:
    asked = {
        "--head": options.head,
        "--layer": options.layers,
        "--train-stages": options.train_stages,
        "--learning-rate": options.learning_rate,
    }
    for name in (name for name, value in asked.items() if value is not None):
        raise InputError(f"{name} has no meaning here: {why}. Leave it out.")


def _weights_for_transfer(options: FitOptions, spec: NetSpec, progress: Progress) -> Path:
    strategy = options.strategy
    if spec.published is None and options.weights in ("published", "none"):
        fit_for_it = ", ".join(name for name, net in NETS.items() if net.published)
        raise InputError(
            f"Net {spec.name} has no features to transfer: no weights of it are published. Allowed "
            f"with --strategy {strategy}: {fit_for_it}; or name a file with --weights."
        )
    if strategy == "features":
        if options.augment not in (None, "none"):
            raise InputError(
                f"--augment {options.augment} has no effect on --strategy features, where each "
                "photo passes through the network once. Leave it out, or choose --strategy "
                "finetune or cnn."
            )
        if options.epochs is not None:
            raise InputError("--epochs has no meaning with --strategy features. Leave it out.")
        trained = {
            "--train-stages": options.train_stages,
            "--learning-rate": options.learning_rate,
        }
        for name in (name for name, value in trained.items() if value is not None):
            raise InputError(
                f"{name} has no meaning with --strategy features. Choose --strategy "
                "finetune, or leave it out."
            )
    file = find_weights(options.weights, spec, progress=progress)
    if file is None:
        raise InputError(
            f"--strategy {strategy} needs pre-trained weights: --weights published or a file."
        )
    return file


def _plan_from_scratch(
    strategy: Literal["fcnn", "cnn"], reason: str, spec: NetSpec, options: FitOptions
) -> Plan:
    kind = "fully connected" if strategy == "fcnn" else "convolutional"
    if spec.kind != kind:
        others = ", ".join(name for name, other in NETS.items() if other.kind == kind)
        raise InputError(f"--strategy {strategy} does not go with net {spec.name}. Use: {others}.")
    if options.weights not in ("published", "none"):
        find_weights(options.weights, spec)  # a choice that does not exist at all says so first
        raise InputError(
            f"--strategy {strategy} trains from scratch: leave out --weights {options.weights}, "
            "or choose --strategy features."
        )
    return Plan(strategy, reason, spec, None, POLICIES[options.augment or "standard"])
