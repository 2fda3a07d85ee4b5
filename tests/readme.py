"""`make readme`: writes the table of settings into README.md."""

import re
from pathlib import Path

from entrypoint.settings import markdown_table

README = Path(__file__).resolve().parent.parent / "README.md"
BETWEEN = re.compile(r"(?<=<!-- settings -->\n).*(?=<!-- /settings -->)", re.DOTALL)

if __name__ == "__main__":
    README.write_text(BETWEEN.sub(lambda _: markdown_table(), README.read_text()))
