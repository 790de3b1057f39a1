"""``features``: every photo once through a network, into a file; later only what has changed.

Where nothing has changed, no network is built and PyTorch is not even imported.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from convscope import __version__
from convscope.data.folder import PhotoTable, scan
from convscope.errors import InputError, InterruptedRunError, unknown_name
from convscope.nets.download import cache_folder, file_sha256
from convscope.nets.published import PUBLISHED
from convscope.progress import Progress
from convscope.run import InputSpec, WeightsInfo
from convscope.transfer.rows import Rows
from convscope.transfer.store import (
    Dtype,
    FeaturesInfo,
    FeatureTable,
    Unusable,
    read_features,
    write_features,
)

Mode = Literal["fast", "exact"]


@dataclass(frozen=True)
class Update:
    """What became of a feature file.

    Attributes
    ----------
    path : Path
    total : int
        Photos in the file now.
    computed : int
        Pushed through the network now.
    kept : int
        Taken from the earlier file, or from an interrupted run.
    changed : int
        Photos of the earlier file that have other content now.
    removed : int
        Photos of the earlier file that are not there any more; a renamed one is.
    unusable : tuple of (str, str)
        Photos that are left out: path and reason.
    info : FeaturesInfo
    """

    path: Path
    total: int
    computed: int
    kept: int
    changed: int
    removed: int
    unusable: tuple[tuple[str, str], ...]
    info: FeaturesInfo

    def to_dict(self) -> dict[str, Any]:
        """As ``convscope features --json`` prints it."""
        return {
            "path": str(self.path),
            "total": self.total,
            "computed": self.computed,
            "kept": self.kept,
            "changed": self.changed,
            "removed": self.removed,
            "unusable": [{"path": path, "reason": reason} for path, reason in self.unusable],
            "net": self.info.net,
            "stages": self.info.stages,
            "dtype": self.info.dtype,
            "weights": self.info.weights.model_dump(),
        }


@dataclass(frozen=True)
class _Asked:
    """The options, as given."""

    net: str
    weights: str
    stages: tuple[str, ...] | None
    mode: Mode
    dtype: Dtype


def update_features(
    photos: Path | str,
    out: Path | str,
    *,
    net: str = "mobilenet_v2",
    weights: str = "published",
    stages: Sequence[str] | None = None,
    dtype: Dtype = "float16",
    mode: Mode = "fast",
    overwrite: bool = False,
    workers: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Update:
    """Compute the features of all photos into a file, or bring the file up to date.

    Photos are known by their content: one that was renamed or moved is not computed again. An
    interrupted call keeps what it has done in ``OUT.partial``; the same call goes on from there.

    Parameters
    ----------
    photos : path
        See :func:`~convscope.data.folder.scan`.
    out : path
        The Parquet file to write; see :mod:`~convscope.transfer.store`.
    net : str
        A name that ``convscope nets`` lists.
    weights : str
        ``published``, or a file.
    stages : sequence of str, optional
        Of the network; default the last.
    dtype : str
        ``float16`` or ``float32``.
    mode : str
        ``fast`` or ``exact``, see :func:`~convscope.transfer.features.extract_features`.
    overwrite : bool
        Replace the file at ``out``, and take nothing from it.
    workers : int, optional
        Decoding processes, default one per core.
    seed : int
        For weights that the file does not give; no stage depends on them.
    progress : Progress, optional

    Returns
    -------
    Update

    Raises
    ------
    InputError
        The photos or options cannot be used, or ``out`` was computed otherwise.
    ConvscopeError
        The work failed; what is done so far is kept.
    """
    progress, out = progress or Progress(), Path(out)
    asked = _Asked(net, weights, None if stages is None else tuple(stages), mode, dtype)
    _check(asked, out)
    table = scan(Path(photos))
    earlier = read_features(out) if out.exists() and not overwrite else None
    if earlier is not None:
        _require_as_asked(earlier.info, asked, out)
    rows = Rows(table, earlier)
    rows.hash_contents(progress)
    if earlier is not None and not rows.missing() and _same_at_a_glance(earlier.info, asked):
        info = earlier.info
    else:
        info = _compute(rows, earlier, asked, out, workers, seed, progress)
    return _finish(rows, earlier, info, out, progress)


def _check(asked: _Asked, out: Path) -> None:
    choices = (("dtype", asked.dtype, get_args(Dtype)), ("precision", asked.mode, get_args(Mode)))
    for what, got, allowed in choices:
        if got not in allowed:
            raise unknown_name(what, got, allowed)
    if asked.weights == "none":
        raise InputError("Features need pre-trained weights: --weights published or a file.")
    if asked.stages is not None and not asked.stages:
        raise InputError("Give one stage or more, or none at all for the last one.")
    if out.is_dir():
        raise InputError(f"--out {out} is a folder. Name a file, for example features.parquet.")


def _require_as_asked(info: FeaturesInfo, asked: _Asked, out: Path) -> None:
    """What can be told before weights are looked for."""
    _require(out, "net", info.net, asked.net)
    stages = asked.stages or (info.last_stage,)
    _require(out, "stages", ", ".join(info.stages), ", ".join(stages))
    _require(out, "precision", info.mode, asked.mode)
    _require(out, "dtype", info.dtype, asked.dtype)


def _require(out: Path, what: str, there: object, asked: object) -> None:
    if there != asked:
        raise InputError(
            f"{out} holds features of another kind: its {what}: {there}; asked: {asked}. Choose "
            "another --out, or replace it with --overwrite."
        )


def _same_at_a_glance(info: FeaturesInfo, asked: _Asked) -> bool:
    """Whether weights and preprocessing are the file's, as far as can be told without PyTorch."""
    published = PUBLISHED.get(info.net)
    if published is None:
        return False
    wanted = InputSpec(
        size=published.size, resize=published.resize, mean=published.mean, std=published.std
    )
    file = Path(asked.weights)
    if asked.weights == "published":
        file = cache_folder() / published.file_name
        if not info.weights.sha256.startswith(published.sha256_prefix):
            return False
    try:
        return info.input == wanted and file_sha256(file) == info.weights.sha256
    except OSError:
        return False


def _compute(
    rows: Rows,
    earlier: FeatureTable | None,
    asked: _Asked,
    out: Path,
    workers: int | None,
    seed: int,
    progress: Progress,
) -> FeaturesInfo:
    """Push what is missing through the network."""
    from convscope.nets.catalog import build_net, photo_net_spec
    from convscope.nets.weights import find_weights, load_body, read_weights
    from convscope.transfer.features import extract_features
    from convscope.transfer.partial import Partial
    from convscope.transfer.staged import chosen_stages, default_stage

    spec = photo_net_spec(asked.net)
    file = find_weights(asked.weights, spec, progress=progress)
    if file is None:
        raise InputError("Features need pre-trained weights: --weights published or a file.")
    taken = InputSpec(size=spec.size, resize=spec.resize, mean=spec.mean, std=spec.std)
    if earlier is not None:
        _require(out, "preprocessing", earlier.info.input, taken)
        _require(out, "weights' SHA-256", earlier.info.weights.sha256, file_sha256(file))
        if not rows.missing():
            return earlier.info
    weights = read_weights(file)
    net = build_net(spec, spec.classes, seed)
    load_body(net, weights)
    stages = {s.name: s.channels for s in chosen_stages(net, asked.stages, spec.name)}
    kept = Partial(
        out, [asked.net, weights.sha256, list(stages.items()), taken.model_dump(), asked.mode]
    )
    precision = kept.add_to(rows, stages)
    if earlier is not None:
        precision = earlier.info.precision
    missing = rows.missing()
    if missing or precision is None:
        paths = [rows.table.full_paths()[row] for row in missing]
        try:
            with progress.task(f"features of {spec.name}", len(paths), "photos") as advance:
                features = extract_features(
                    paths, net, spec, stages=tuple(stages), mode=asked.mode, precision=precision,
                    workers=workers, shards=kept.next_call(), advance=advance,
                )  # fmt: skip
        except KeyboardInterrupt:
            if not kept.folder.exists():
                raise
            raise InterruptedRunError(
                f"Stopped. What is done is kept in {kept.folder}: go on with the same command."
            ) from None
        precision = features.precision
        for row, fact in zip(missing, features.facts, strict=True):
            # As it was when it was decoded, which is what the vectors are of.
            rows.hashes[row] = fact.sha256
            if fact.usable:
                rows.computed += 1
            else:
                rows.reasons[row] = fact.error
        rows.add(
            [fact.sha256 if fact.usable else "" for fact in features.facts],
            {stage: features.of(stage) for stage in stages},
        )
    return FeaturesInfo(
        convscope=__version__,
        net=asked.net,
        stages=stages,
        last_stage=default_stage(net).name,
        weights=WeightsInfo(source=weights.source, sha256=weights.sha256),
        input=taken,
        mode=asked.mode,
        precision=precision,
        dtype=asked.dtype,
    )


def _finish(
    rows: Rows, earlier: FeatureTable | None, info: FeaturesInfo, out: Path, progress: Progress
) -> Update:
    table, usable = rows.table, rows.usable()
    unusable = [(table.paths[row], reason) for row, reason in sorted(rows.reasons.items())]
    unusable += _passed_over(table)
    for path, reason in unusable:
        progress.say(f"left out: {path}: {reason}")
    if not usable:
        raise InputError(
            f"None of the {len(table):,} photos of {table.root} can be read; {unusable[0][0]}: "
            f"{unusable[0][1]}. `convscope check` lists all."
        )
    bad = tuple(
        Unusable(path=table.paths[row], sha256=rows.hashes[row], reason=reason)
        for row, reason in sorted(rows.reasons.items())
    )
    info = info.model_copy(update={"unusable": bad})
    splits: Sequence[str | None] = table.splits or (None,) * len(table)
    new = FeatureTable(
        paths=tuple(table.paths[row] for row in usable),
        sha256=tuple(rows.hashes[row] for row in usable),
        labels=tuple(table.labels[row] for row in usable),
        splits=tuple(splits[row] for row in usable),
        vectors={},
        info=info,
    )
    if earlier is None or _without_vectors(earlier) != new:
        vectors = {stage: rows.vectors(stage, width) for stage, width in info.stages.items()}
        write_features(out, replace(new, vectors=vectors))
    shutil.rmtree(out.with_name(f"{out.name}.partial"), ignore_errors=True)
    changed, removed = _differences(earlier, new)
    return Update(
        path=out,
        total=len(new),
        computed=rows.computed,
        kept=len(new) - rows.computed,
        changed=changed,
        removed=removed,
        unusable=tuple(unusable),
        info=info,
    )


def _without_vectors(table: FeatureTable) -> FeatureTable:
    return replace(table, vectors={})


def _passed_over(table: PhotoTable) -> list[tuple[str, str]]:
    """Files that the folder's listing could not make photos of."""
    if not table.ignored:
        return []
    from convscope.data.dataset import LEFT_OUT

    return [(path, reason) for path, kind, reason in table.ignored if kind in LEFT_OUT]


def _differences(earlier: FeatureTable | None, new: FeatureTable) -> tuple[int, int]:
    """How many photos have other content now, and how many are gone; renamed ones are neither."""
    if earlier is None:
        return 0, 0
    before, now = (dict(zip(t.paths, t.sha256, strict=True)) for t in (earlier, new))
    changed = sum(now[path] != sha256 for path, sha256 in before.items() if path in now)
    moved_here = Counter(sha256 for path, sha256 in now.items() if path not in before)
    moved_away = Counter(sha256 for path, sha256 in before.items() if path not in now)
    return changed, (moved_away - moved_here).total()
