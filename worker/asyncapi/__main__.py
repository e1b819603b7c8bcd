"""`python -m worker.asyncapi docs`: write asyncapi.yaml into the folder, whose examples it takes up."""

import sys
from pathlib import Path

from worker.asyncapi.files import yaml_text

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    (folder / "asyncapi.yaml").write_text(yaml_text(folder), encoding="utf-8")
