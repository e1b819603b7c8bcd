"""The promises of the image to those who build and run it, as far as they can be read from its files."""

import json
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(sys.executable).parent


def test_the_dockerfile_is_clean() -> None:
    """Whoever scans the repository with hadolint has nothing to ask."""
    done = subprocess.run([PROGRAMS / "hadolint", ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_runs_as_any_user_but_root() -> None:
    """Kubernetes sees by the number that it is not root, and nothing in the image depends on a name or a home."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    final = text.rpartition("\nFROM ")[2]
    assert re.findall(r"^USER (.+)$", final, re.MULTILINE) == ["10001:10001"]
    assert "HOME" not in final


def test_the_health_check_is_where_the_image_has_it() -> None:
    """A newer Python in the image does not leave it with a check that never succeeds."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    ((base,),) = [set(re.findall(r"^FROM python:(\d+\.\d+)-slim", text, re.MULTILINE))]
    folder, file = re.findall(r"CMD .*/lib/python([\d.]+)/site-packages/([\w/]+\.py)", text)[0]
    assert folder == base
    assert (ROOT / file).exists()


def test_the_bill_of_materials_is_the_lock(tmp_path: Path) -> None:
    """A scanner that reads `make sbom` judges the very versions that the image is made of."""
    target = re.search(r"^\t\$\(BIN\)/(cyclonedx-py .+)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert target is not None
    program, *arguments = target[1].replace("sbom.cdx.json", str(tmp_path / "sbom.json")).split()
    subprocess.run([PROGRAMS / program, *arguments], cwd=ROOT, capture_output=True, check=True)
    document = json.loads((tmp_path / "sbom.json").read_text(encoding="utf-8"))
    assert document["bomFormat"] == "CycloneDX"
    listed = [(part["name"], part["version"]) for part in document["components"]]
    locked = re.findall(r"^([\w.-]+)==([^\s;]+)", (ROOT / "requirements.lock").read_text("utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(locked)


def test_the_image_has_all_that_its_modules_import() -> None:
    """The image is built: what it compiles needs only packages of requirements.lock, not those of development."""
    left_out = re.findall(r"any\(part in name for part in \((.+?)\)\)", (ROOT / "Dockerfile").read_text("utf-8"))
    locked = re.findall(r"^([\w.-]+)==", (ROOT / "requirements.lock").read_text("utf-8"), re.MULTILINE)
    there = {*locked, "phin-connectwise", "setuptools"}
    names = metadata.packages_distributions().items()
    missing = {name for name, parts in names if not there & {re.sub(r"[-_.]+", "-", part).lower() for part in parts}}
    program = f"""
import pkgutil, sys
class Missing:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in {missing!r}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
ours = [__import__(name) for name in ("cwclient", "messages", "store", "worker")]
names = [m.name for p in ours for m in pkgutil.walk_packages(p.__path__, p.__name__ + ".")]
[__import__(name) for name in names if not any(part in name for part in ({left_out[0]}))]
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
