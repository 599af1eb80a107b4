"""Checks the types of the programs that users read, as strictly as the package: `python -m tests.typed_programs`.

They are the example notebooks, and the Python blocks of the documents that are whole programs. mypy and pyright look at
each, both in their strict modes. Tests are none: fixtures come into them by their names.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import Final

CHECKOUT: Final = Path(__file__).parent.parent

_BLOCK: Final = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)

#: What begins a program, and no excerpt of one.
_PROGRAM: Final = re.compile(r"(?:import|from) ")
_WHOLE: Final = re.compile(r"^(?:async )?def main\(", re.MULTILINE)

#: What a cell has without importing it, in every kernel and in the trio kernel.
_GIVEN: Final = """
from jchannel.kernel import current_nursery

nursery = current_nursery()


def display(*objects: object) -> None: ...
"""

#: A notebook shows the value of a cell's last line, and trio-asyncio has no types.
_PYRIGHT: Final = {
    "typeCheckingMode": "strict",
    "extraPaths": [str(CHECKOUT)],
    "reportUnusedExpression": False,
    "reportMissingTypeStubs": False,
    "reportUnknownMemberType": False,
}


def find_programs() -> dict[str, str]:
    """Returns the programs by the names of the files to write them to."""
    programs = {}
    for path in sorted((CHECKOUT / "examples").glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        code = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
        # Cells await; only functions do in a file.
        body = textwrap.indent(code, "    ")
        programs[f"notebook_{path.stem.replace('-', '_')}.py"] = f"{_GIVEN}\n\nasync def notebook() -> None:\n{body}\n"
    for path in sorted([CHECKOUT / "README.md", *(CHECKOUT / "docs").glob("*.md")]):
        for number, block in enumerate(_BLOCK.findall(path.read_text(encoding="utf-8")), 1):
            if _PROGRAM.match(block) and _WHOLE.search(block):
                programs[f"{path.stem.replace('-', '_').lower()}_{number}.py"] = block
    return programs


def check(folder: Path) -> int:
    """Checks the programs in a folder, and returns the worse status of the two checkers."""
    (folder / "pyrightconfig.json").write_text(json.dumps(_PYRIGHT))
    files = [str(path) for path in sorted(folder.glob("*.py"))]
    python = Path(sys.executable)
    mypy: list[str | Path] = [
        python,
        "-m",
        "mypy",
        "--config-file",
        CHECKOUT / "pyproject.toml",
        *files,
    ]
    pyright: list[str | Path] = [
        CHECKOUT / "jsclient/node_modules/.bin/pyright",
        "--pythonpath",
        python,
        "--project",
        folder,
    ]
    return max(subprocess.run(command, cwd=CHECKOUT, check=False).returncode for command in (mypy, pyright))


def main() -> int:
    """Writes the programs to a folder and checks them there."""
    with tempfile.TemporaryDirectory() as name:
        for file, program in find_programs().items():
            (Path(name) / file).write_text(program, encoding="utf-8")
        return check(Path(name))


if __name__ == "__main__":
    sys.exit(main())
