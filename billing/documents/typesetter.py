"""Runs as a child process: reads one document's data from stdin (JSON) and writes the PDF to stdout.

Exits with 3 and typst's message on stderr if typst refuses the document. No module imports this script.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

# The limits are set here, before anything else is loaded: the parent may have threads, and code between fork and exec is then unsafe.
resource.setrlimit(resource.RLIMIT_CPU, (10, 10))
# This limits used memory and not address space, because the threads of a large machine reserve address space that they never use.
resource.setrlimit(resource.RLIMIT_DATA, (2 << 30, 2 << 30))

import typst  # noqa: E402

HERE = Path(__file__).resolve().parent


def main() -> int:
    """Read {"template": document or statement, "data": its strings, "timestamp": Unix seconds, "standards": ["a-3a"], "fonts": folders}."""
    request = json.load(sys.stdin)
    compiler = typst.Compiler(
        HERE / f"{request['template']}.typ", root=HERE, font_paths=[HERE / "fonts", *request["fonts"]], ignore_system_fonts=True
    )
    try:
        pdf = compiler.compile(
            sys_inputs={"data": json.dumps(request["data"])},
            pdf_standards=request["standards"],
            timestamp=request["timestamp"],
            format="pdf",
        )
    except typst.TypstError as error:
        sys.stderr.write(str(error)[:2000])
        return 3
    sys.stdout.buffer.write(pdf)  # type: ignore[arg-type]  # typst returns a list only for formats with several files
    return 0


if __name__ == "__main__":
    sys.exit(main())
