"""`python -m worker.asyncapi docs`: write asyncapi.yaml and asyncapi.html there, with the folder's examples."""

import sys
from pathlib import Path

from worker.asyncapi.files import html_text, yaml_text

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    (folder / "asyncapi.yaml").write_text(yaml_text(folder), encoding="utf-8")
    (folder / "asyncapi.html").write_text(html_text(folder), encoding="utf-8")
