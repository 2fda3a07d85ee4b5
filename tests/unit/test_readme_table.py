from pathlib import Path

from entrypoint.settings import markdown_table

README = Path(__file__).parents[2] / "README.md"
BEGIN, END = "<!-- settings -->", "<!-- /settings -->"


def test_the_readme_holds_the_settings_as_the_code_has_them() -> None:
    """The reference between the two marks is the code's own table, to the letter."""
    text = README.read_text(encoding="utf-8")
    assert text.count(BEGIN) == text.count(END) == 1
    table = text.partition(BEGIN)[2].partition(END)[0]
    assert table.strip() == markdown_table().strip(), f"put between the marks:\n{markdown_table()}"
