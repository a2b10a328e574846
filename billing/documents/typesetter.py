"""The child process: reads one document's data from stdin (JSON), writes the PDF to stdout. Run as a script, isolated.

Exit 3 with typst's words on stderr when it refuses. Not imported by anything.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

# Set here, before anything else is loaded: the parent may be threaded, where code between fork and exec is unsafe.
resource.setrlimit(resource.RLIMIT_CPU, (10, 10))
# Memory that is used, not address space: every thread of a large machine reserves some it never touches.
resource.setrlimit(resource.RLIMIT_DATA, (2 << 30, 2 << 30))

import typst  # noqa: E402

HERE = Path(__file__).resolve().parent


def main() -> int:
    """stdin: {"data": strings of the template, "timestamp": Unix seconds, "standards": ["a-3a", "ua-1"],
    "fonts": further folders of fonts}."""
    order = json.load(sys.stdin)
    compiler = typst.Compiler(HERE / "document.typ", root=HERE, font_paths=[HERE / "fonts", *order["fonts"]], ignore_system_fonts=True)
    try:
        pdf = compiler.compile(
            sys_inputs={"data": json.dumps(order["data"])}, pdf_standards=order["standards"], timestamp=order["timestamp"], format="pdf"
        )
    except typst.TypstError as error:
        sys.stderr.write(str(error)[:2000])
        return 3
    sys.stdout.buffer.write(pdf)  # type: ignore[arg-type]  # a list only for formats with many files
    return 0


if __name__ == "__main__":
    sys.exit(main())
