"""A hook of mkdocs: adds the pages that stand outside docs/, links between them, and formulas as MathML."""

from __future__ import annotations

import html
import re
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from medssr.cli.reference import config_reference
from medssr.config.catalog import CONF_DIR

ROOT = Path(__file__).parents[1]
# What the pages of experiments/ show or link to.
_STUDY_FILES = ("*.md", "*.png", "result.jsonl")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds contributing, changelog and the studies' pages, and the settings of conf/ as one page."""
    outside = {"contributing.md": ROOT / "CONTRIBUTING.md", "changelog.md": ROOT / "CHANGELOG.md"}
    for pattern in _STUDY_FILES:
        outside |= {file.relative_to(ROOT).as_posix(): file for file in sorted(ROOT.glob(f"experiments/**/{pattern}"))}
    for uri, file in outside.items():
        files.append(File.generated(config, uri, abs_src_path=str(file)))
    settings = f"# Settings\n\nEvery setting with its default.\n\n```yaml\n{config_reference(CONF_DIR)}```\n"
    files.append(File.generated(config, "settings.md", content=settings))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turns links between folders of the repository into links between pages of the site."""
    if page.file.src_uri.startswith("experiments/"):
        return re.sub(r"\]\(((?:\.\./)+)docs/", r"](\1", markdown)
    return re.sub(r"\]\((?:docs/|\.\./(?=experiments/))", "](", markdown)


def on_page_content(html_text: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turns the formulas that arithmatex marked into MathML, which browsers show without a script."""
    for tag, display in (("span", "inline"), ("div", "block")):
        pattern = rf'<{tag} class="arithmatex">\\[(\[]((?s:.*?))\\[)\]]</{tag}>'
        html_text = re.sub(
            pattern, lambda match, kind=display: convert(html.unescape(match[1]), display=kind), html_text
        )
    return html_text
