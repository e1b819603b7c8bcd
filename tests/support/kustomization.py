"""Kubernetes manifests as kustomize builds them, for as much of it as ours use, and their strict validation, offline.

Kubernetes' own objects are checked by its published schemas, KEDA's by `tests.support.keda`, kustomize's here.
"""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict

VERSION = "1.37"

Manifest = dict[str, Any]


class Strict(BaseModel):
    """Takes the documented fields only, each of its own type."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Label(Strict):
    """Labels for all resources."""

    pairs: dict[str, str]
    includeSelectors: bool = False  # noqa: N815 - kustomize's names here and below
    includeTemplates: bool = False  # noqa: N815


class Image(Strict):
    """An image by another name."""

    name: str
    newName: str | None = None  # noqa: N815
    newTag: str | None = None  # noqa: N815


class Patch(Strict):
    """A file that is merged into the resource of its kind and name."""

    path: str


class Kustomization(Strict):
    """A kustomization.yaml."""

    apiVersion: Literal["kustomize.config.k8s.io/v1beta1"]  # noqa: N815
    kind: Literal["Kustomization"]
    namespace: str | None = None
    resources: list[str]
    labels: list[Label] = []
    images: list[Image] = []
    patches: list[Patch] = []


def validate(manifest: Manifest) -> None:
    """Raise kubernetes_validate's or pydantic's ValidationError if the cluster would refuse or ignore a part of it."""
    # They take long to load, and are needed by one file of tests.
    import kubernetes_validate

    from tests.support import keda

    if str(manifest.get("apiVersion")).startswith("keda.sh/"):
        keda.validate(manifest)
    else:
        kubernetes_validate.validate(manifest, VERSION, strict=True)


def read(file: Path) -> list[Manifest]:
    """Return the documents of a file."""
    return list(yaml.safe_load_all(file.read_text(encoding="utf-8")))


def build(folder: Path) -> list[Manifest]:
    """Return the resources of a kustomization, patched. Raises pydantic's ValidationError, OSError or LookupError."""
    (document,) = read(folder / "kustomization.yaml")
    kustomization = Kustomization.model_validate(document)
    built: list[Manifest] = []
    for path in (folder / name for name in kustomization.resources):
        built += build(path) if path.is_dir() else deepcopy(read(path))
    for patch in kustomization.patches:
        for change in read(folder / patch.path):
            index = next(n for n, resource in enumerate(built) if _key(resource) == _key(change))
            built[index] = _merged(built[index], change)
    images = {image.name: f"{image.newName or image.name}:{image.newTag or 'latest'}" for image in kustomization.images}
    for resource in built:
        if kustomization.namespace:
            resource["metadata"]["namespace"] = kustomization.namespace
        for label in kustomization.labels:
            for labels in _labels(resource, label):
                labels.update(label.pairs)
        for container in containers(resource):
            container["image"] = images.get(container["image"], container["image"])
    return built


def containers(resource: Manifest) -> list[Manifest]:
    """Return all containers of a resource that has pods."""
    pod = resource.get("spec", {}).get("template", {}).get("spec", {})
    return [*pod.get("initContainers", ()), *pod.get("containers", ())]


def _key(resource: Manifest) -> tuple[str, str]:
    return resource["kind"], resource["metadata"]["name"]


def _merged(whole: Any, change: Any) -> Any:
    """Merge as `kubectl patch` does: of lists those elements whose names are the same."""
    if isinstance(whole, Mapping) and isinstance(change, Mapping):
        return {**whole, **{name: _merged(whole.get(name), value) for name, value in change.items()}}
    named = isinstance(whole, list) and all(isinstance(part, Mapping) and "name" in part for part in [*whole, *change])
    if not named:
        return change
    by_name = {part["name"]: part for part in change}
    merged = [_merged(part, by_name.pop(part["name"])) if part["name"] in by_name else part for part in whole]
    return [*by_name.values(), *merged]


def _labels(resource: Manifest, label: Label) -> Iterator[dict[str, str]]:
    yield resource["metadata"].setdefault("labels", {})
    spec = resource.get("spec", {})
    if label.includeTemplates and "template" in spec:
        yield spec["template"]["metadata"].setdefault("labels", {})
    if label.includeSelectors:
        for selector in (spec.get("selector"), spec.get("podSelector")):
            if selector:
                yield selector.setdefault("matchLabels", {})
