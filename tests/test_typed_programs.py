"""The programs whose types are checked are all that users read."""

from __future__ import annotations

from tests.typed_programs import CHECKOUT, find_programs


def test_every_notebook_and_both_programs_of_the_readme_are_found() -> None:
    programs = find_programs()
    assert len([name for name in programs if name.startswith("notebook_")]) == len(
        list((CHECKOUT / "examples").glob("*.ipynb"))
    )
    assert len([name for name in programs if name.startswith("readme_")]) == 2
    for name, program in programs.items():
        compile(program, name, "exec")
